"""Events as sentences, for `ashore events` and the timeline of the demo."""

from typing import NamedTuple

from ashore.events import (
    DeviceOnboarded,
    DeviceRedirected,
    Event,
    OnboardingFailed,
    OnboardingStarted,
    OwnerRegistered,
    VoucherExtended,
    VoucherIssued,
    VoucherReceived,
)
from ashore_cli.output import short


class Telling(NamedTuple):
    """One event for people: where the device stands now, and what has happened."""

    word: str
    text: str
    style: str = "cyan"


def tell(event: Event) -> Telling:
    """The event in words."""
    match event:
        case VoucherIssued():
            return Telling("manufactured", f"{event.serial} ({event.device_info}) has its credential and its voucher")
        case VoucherExtended():
            return Telling("sold", f"the voucher was signed over to the key {short(event.owner_key)}")
        case VoucherReceived():
            return Telling("owned", f"the owner has verified the voucher and keeps it (by {event.origin})")
        case OwnerRegistered():
            return Telling("registered", f"the rendezvous knows the owner: {', '.join(event.addresses)}")
        case DeviceRedirected():
            return Telling("redirected", f"the device was told where its owner is: {', '.join(event.addresses)}")
        case OnboardingStarted():
            return Telling("onboarding", f"device and owner have proved who they are (attempt {event.attempt})", "yellow")
        case OnboardingFailed():
            remedy = f"; to do: {event.remedy}" if event.remedy else ""
            return Telling("failed", f"{event.reason} (message {event.message_number}){remedy}", "red")
        case DeviceOnboarded():
            return Telling("ashore", _onboarded(event), "green")
    return Telling(event.name, "")


def _onboarded(event: DeviceOnboarded) -> str:
    profile = f"profile {event.profile}" if event.profile else "no profile"
    kept = "it keeps its credential" if event.credential_reuse else f"its new GUID is {short(event.new_guid)}"
    return f"{profile}, done in {event.duration_ms} ms; {kept}"

"""Events as sentences, for `ashore events` and the timeline of the demo."""

from functools import singledispatch
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


@singledispatch
def tell(event: Event) -> Telling:
    """The event in words."""
    return Telling(event.name, "")


@tell.register
def _(event: VoucherIssued) -> Telling:
    return Telling("manufactured", f"{event.serial} ({event.device_info}) has its credential")


@tell.register
def _(event: VoucherExtended) -> Telling:
    return Telling("sold", f"its voucher was signed over to the key {short(event.owner_key)}")


@tell.register
def _(event: VoucherReceived) -> Telling:
    return Telling("owned", f"its owner has verified the voucher (by {event.origin})")


@tell.register
def _(event: OwnerRegistered) -> Telling:
    return Telling("registered", f"the rendezvous knows its owner: {', '.join(event.addresses)}")


@tell.register
def _(event: DeviceRedirected) -> Telling:
    return Telling("redirected", f"the rendezvous has sent it to {', '.join(event.addresses)}")


@tell.register
def _(event: OnboardingStarted) -> Telling:
    return Telling("onboarding", f"device and owner have proved who they are (attempt {event.attempt})", "yellow")


@tell.register
def _(event: OnboardingFailed) -> Telling:
    remedy = f"; to do: {event.remedy}" if event.remedy else ""
    return Telling("failed", f"{event.reason} (message {event.message_number}){remedy}", "red")


@tell.register
def _(event: DeviceOnboarded) -> Telling:
    profile = f"profile {event.profile}" if event.profile else "no profile"
    kept = "it keeps its credential" if event.credential_reuse else f"its new GUID is {short(event.new_guid)}"
    return Telling("ashore", f"{profile}, done in {event.duration_ms} ms; {kept}", "green")

"""The events of FDO: from DI at the factory to the end of TO2 at the owner."""

from typing import Annotated, ClassVar

from msgspec import Meta

from ashore.events.model import Addresses, Count, DeviceInfo, Event, Guid, Serial, Sha256


class VoucherIssued(Event, frozen=True, kw_only=True):
    """DI is complete: the device has its credential, and the manufacturer holds its voucher."""

    name: ClassVar[str] = "voucher-issued"
    guid: Guid
    serial: Serial
    device_info: DeviceInfo
    key_type: Annotated[str, Meta(max_length=64, description="Type of the manufacturer's key in the voucher")]


class VoucherExtended(Event, frozen=True, kw_only=True):
    """The voucher was signed over to its next owner, who may now take it."""

    name: ClassVar[str] = "voucher-extended"
    guid: Guid
    serial: Serial
    voucher: Annotated[str, Meta(description="The extended voucher: CBOR in base64")]
    owner_key: Annotated[Sha256, Meta(description="The new owner: SHA-256 over its SubjectPublicKeyInfo, in hex")]
    digest: Annotated[Sha256, Meta(description="SHA-256 over the CBOR of the voucher, in hex")]


class VoucherReceived(Event, frozen=True, kw_only=True):
    """An owner service has verified a voucher and keeps it."""

    name: ClassVar[str] = "voucher-received"
    guid: Guid
    serial: Serial
    device_info: DeviceInfo
    origin: Annotated[str, Meta(max_length=256, description="How it came: `event`, `upload` or `resale`")]


class OwnerRegistered(Event, frozen=True, kw_only=True):
    """TO0 is complete: the rendezvous service will send the device to these addresses."""

    name: ClassVar[str] = "owner-registered"
    guid: Guid
    addresses: Addresses
    wait_seconds: Annotated[Count, Meta(description="For how long the registration was granted")]
    expires_at: Annotated[str, Meta(max_length=64, description="When it ends: RFC 3339, UTC")]


class DeviceRedirected(Event, frozen=True, kw_only=True):
    """TO1 is complete: the device was told where its owner is."""

    name: ClassVar[str] = "device-redirected"
    guid: Guid
    addresses: Addresses


class OnboardingStarted(Event, frozen=True, kw_only=True):
    """The device has proved in TO2 who it is; service info follows."""

    name: ClassVar[str] = "onboarding-started"
    guid: Guid
    device_info: DeviceInfo
    replica: Annotated[str, Meta(max_length=128, description="The replica of the owner service that holds the session")]
    attempt: Annotated[int, Meta(ge=1, description="Which attempt of this device it is, from 1")]


class OnboardingFailed(Event, frozen=True, kw_only=True):
    """TO2 broke off; the device will try again from TO1."""

    name: ClassVar[str] = "onboarding-failed"
    guid: Guid
    code: Annotated[Count, Meta(description="The FDO error code that was sent, section 5.1.1")]
    message_number: Annotated[int, Meta(ge=0, le=255, description="The FDO message at which it broke off")]
    reason: Annotated[str, Meta(max_length=4096, description="What happened, for people")]
    remedy: Annotated[str, Meta(max_length=4096, description="What to do next, for people; empty if nothing is needed")]


class DeviceOnboarded(Event, frozen=True, kw_only=True):
    """TO2 is complete: the device is ashore, and ours."""

    name: ClassVar[str] = "device-onboarded"
    guid: Guid
    new_guid: Annotated[Guid, Meta(description="The GUID from now on; the same as before with credential reuse")]
    profile: Annotated[str, Meta(max_length=256, description="The profile that it received; empty if none")]
    credential_reuse: Annotated[bool, Meta(description="Whether the device keeps its credential and can onboard again")]
    duration_ms: Annotated[Count, Meta(description="From the first message of TO2 to the last, in milliseconds")]


FDO_EVENTS: tuple[type[Event], ...] = (
    VoucherIssued,
    VoucherExtended,
    VoucherReceived,
    OwnerRegistered,
    DeviceRedirected,
    OnboardingStarted,
    OnboardingFailed,
    DeviceOnboarded,
)

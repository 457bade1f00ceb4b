"""What the owner service tells: devices, their onboardings, who waits, profiles and rules."""

import msgspec

from ashore.fdo.serviceinfo.devmod import Devmod

JSON = dict[str, object]


class Failure(msgspec.Struct, kw_only=True):
    """Why the last attempt broke off, and what to do."""

    at: str
    code: int
    message_number: int
    reason: str
    remedy: str


class StepResult(msgspec.Struct, kw_only=True):
    """What became of one step of a profile."""

    module: str
    description: str
    state: str
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    error: str | None = None
    file_name: str | None = None
    file_size: int | None = None
    truncated: bool = False


class Onboarding(msgspec.Struct, kw_only=True):
    """An attempt that came to an end."""

    id: str
    guid: str
    new_guid: str | None
    profile: str
    result: str
    """`onboarded` or `failed`."""
    credential_reuse: bool
    started_at: str
    ended_at: str
    devmod: Devmod | None = None
    steps: list[StepResult] = []


class Device(msgspec.Struct, kw_only=True):
    """A device, by the voucher that the owner holds of it."""

    guid: str
    serial: str
    device_info: str
    state: str
    """One of `ashore.devices.DeviceState`; a text here, since a newer service may know more."""
    owner_key: str
    origin: str
    profile: str | None = None
    """Chosen by hand; otherwise the rules decide."""
    received_at: str
    registered_until: str | None = None
    registration_error: str | None = None
    onboarded_at: str | None = None
    attempts: int = 0
    failure: Failure | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    sold_to: str | None = None


class DeviceDetails(Device, kw_only=True):
    """A device with its ledger, newest first."""

    onboardings: list[Onboarding] = []


class DevicePage(msgspec.Struct):
    """A part of the list."""

    items: list[Device]
    next: str | None = None


class Waiting(msgspec.Struct, kw_only=True):
    """A device that came and could not be served, and the one remedy that it needs."""

    guid: str
    reason: str
    remedy: str
    first_seen: str
    last_seen: str
    times: int


class Imported(msgspec.Struct, kw_only=True):
    """What became of one voucher that was handed in."""

    guid: str | None = None
    serial: str = ""
    device_info: str | None = None
    verdict: str
    """`imported`, `known` or `refused`."""
    reason: str = ""


class ImportReport(msgspec.Struct, kw_only=True):
    """What became of each voucher."""

    items: list[Imported]


class Profile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a device gets. The steps are as they came: the service knows their kinds and checks them."""

    name: str
    description: str = ""
    steps: list[JSON] = []
    variables: dict[str, str] = {}
    credential: str = "replace"


class Rule(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Chooses a profile; every condition that is given must hold."""

    profile: str
    device_info: str | None = None
    serial: str | None = None
    owner_key: str | None = None
    devmod: dict[str, str] = {}

"""What the owner service knows and shows: devices, their onboardings, and who waits.

The profile, what a device gets, has its own file: `profiles`.
"""

import base64
from typing import Literal

import msgspec

from ashore.devices import DeviceState
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.serviceinfo.modules import Outcome


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
    """Bytes of a file that the device sent; get it with the `files` operation."""
    truncated: bool = False


def step_result(outcome: Outcome) -> StepResult:
    """An outcome as people see it; a file's content is kept apart."""
    return StepResult(
        module=outcome.module,
        description=outcome.description,
        state=outcome.state,
        exit_code=outcome.exit_code,
        stdout=_text(outcome.stdout),
        stderr=_text(outcome.stderr),
        error=outcome.error,
        file_name=outcome.file_name,
        file_size=None if outcome.content is None else len(outcome.content),
        truncated=outcome.truncated,
    )


def _text(data: bytes) -> str:
    """Output of a device: text where it is text, else base64."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data).decode()


class Onboarding(msgspec.Struct, kw_only=True):
    """One line of the ledger: an attempt that came to an end."""

    id: str
    guid: str
    new_guid: str | None
    profile: str
    result: Literal["onboarded", "failed"]
    credential_reuse: bool
    started_at: str
    ended_at: str
    devmod: Devmod | None = None
    steps: list[StepResult] = []


class Device(msgspec.Struct, kw_only=True):
    """A device, by the voucher that we hold of it."""

    guid: str
    serial: str
    device_info: str
    state: DeviceState
    owner_key: str
    origin: str
    profile: str | None
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


class Waiting(msgspec.Struct, kw_only=True):
    """A device that came and could not be served, and the one remedy that it needs."""

    guid: str
    reason: str
    remedy: str
    first_seen: str
    last_seen: str
    times: int


class Page(msgspec.Struct, kw_only=True):
    """A page of devices."""

    items: list[Device]
    next: str | None = None


class Imported(msgspec.Struct, kw_only=True):
    """What became of one voucher that was handed in."""

    guid: str | None = None
    serial: str = ""
    """As the import said it, else the device's certificate, else what is known of the device, else its model."""
    device_info: str | None = None
    verdict: Literal["imported", "known", "refused"]
    reason: str = ""


class ImportReport(msgspec.Struct, kw_only=True):
    """What became of each voucher."""

    items: list[Imported]

"""What went wrong in one round of onboarding, and what that means.

Most failures mean nothing but another try. Two questions are asked of all of them together: whether an owner has shown
that it is done with this device, and what to tell the user when there are no more tries.
"""

from typing import Final, NamedTuple

from ashore.fdo.errors import FdoError, PeerError, VoucherError
from ashore.fdo.messages import HelloDevice
from ashore_device.credential_file import Candidate, Record
from ashore_device.errors import describe

SETTLING_ROUNDS: Final = 3
"""Rounds in which the owner must refuse all credentials of a device that has sent Done(70).

One is enough where the owner says of the new credential's voucher that it is not one to onboard with: it has it.
"""


class _Failure(NamedTuple):
    guid: str
    error: Exception

    @property
    def reached(self) -> int:
        """Number of the message up to which it came: a refusal tells more than a wrong address."""
        if isinstance(self.error, PeerError):
            return self.error.message_number
        return HelloDevice.number if isinstance(self.error, FdoError) else 0


class Failures:
    """The failures of one round."""

    def __init__(self) -> None:
        self._failures: list[_Failure] = []

    def note(self, candidate: Candidate, error: Exception) -> None:
        """Add one."""
        self._failures.append(_Failure(candidate.credential.guid.hex(), error))

    def refusal(self, record: Record) -> int:
        """How much it means, in rounds, that the owner refused every credential of a device that was cut off."""
        codes = {
            failure.guid: failure.error.peer_code
            for failure in self._failures
            if isinstance(failure.error, PeerError) and failure.error.message_number == HelloDevice.number
        }
        known = {candidate.credential.guid.hex() for candidate in record.candidates}
        if record.state != "finishing" or not known <= codes.keys():
            return 0
        return SETTLING_ROUNDS if codes[record.guid] == VoucherError.code else 1

    def summary(self, record: Record) -> str:
        """What to tell the user."""
        who = f"device {record.serial} ({record.guid})"
        if not self._failures:
            return f"{who} was not onboarded: its rendezvous info names nobody over http or https; initialise it anew"
        failure = max(self._failures, key=lambda each: each.reached)
        return f"{who} was not onboarded: {describe(failure.error)}"

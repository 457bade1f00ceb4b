"""Onboarding: find the owner, prove and be proven, do what it asks, leave with a new credential - and do not give up.

One *round* tries every way there is (`routes`), in order. When none leads anywhere the device waits, longer each time
and never exactly as long as its neighbours, and begins the next round.

**Killed at any message.** Before Done(70) is sent nothing has changed on either side, so the device just begins again.
From then on the owner may have replaced the voucher, and only Done2(71) says so. The replacement is on disk before 70
is sent, and the old credential stays until 71 has come (`credential_file`). A device that finds both asks the owner
itself, with the new one first. If the owner answers to the new one, or still to the old one, the device is onboarded
once more and all is clear. If the owner refuses both, it has replaced the voucher and sees no reason to go on: the
device was told all that it should do, and takes the new credential for its own. The old one is kept even then, as a
message 255 proves nothing; a later onboarding (resale) tries both.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

import msgspec

from ashore.cose import Sign1
from ashore.fdo import to0
from ashore.fdo.ciphers import CipherSuite, SvkLength
from ashore.fdo.credential import Credential
from ashore.fdo.errors import AddressError, FdoError, PeerError
from ashore.fdo.kex import KexSuite
from ashore.fdo.messages import HelloDevice
from ashore.fdo.serviceinfo import LARGEST_SIZE
from ashore.fdo.serviceinfo.device import DeviceConversation
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.serviceinfo.modules import DeviceModule
from ashore_device import protocols
from ashore_device.credential_file import Candidate, CredentialFile, Record
from ashore_device.dialogue import Dialogue, dialogue
from ashore_device.errors import OnboardingError, StateError, TransportError, describe
from ashore_device.failures import SETTLING_ROUNDS, Failures
from ashore_device.progress import Kind, Progress, Report, ignore
from ashore_device.routes import last_delay, owner_urls, routes
from ashore_device.transport import Transport

_NEGOTIABLE: Final = (100, 101, 500)
"""Codes with which owners refuse algorithms: ours says 101, others are less exact."""
_SPREAD: Final = 0.25


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a device onboards. The defaults work with every owner that was tried."""

    kex: KexSuite | None = None
    """One key exchange; None tries what suits the owner's key."""
    cipher: CipherSuite | None = None
    """None is AES-GCM, as strong as the key exchange."""
    svk_length: SvkLength = SvkLength.GO
    allow_reuse: bool = True
    """Whether the owner may let the device keep its credential."""
    max_service_info: int = LARGEST_SIZE
    """Bytes of service info that the owner may put into one message."""
    rounds: int | None = None
    """None never gives up."""
    first_delay: float = 2.0
    """Seconds after the first round, doubled after each; the rendezvous info may ask for others."""
    longest_delay: float = 120.0
    done_pauses: tuple[float, ...] = (0.0, 1.0, 4.0)
    """Seconds before each time that Done(70) is sent again, when no answer came or the owner could not store."""


class Onboarded(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended."""

    serial: str
    old_guid: str
    guid: str
    owner_url: str
    reused: bool
    """The owner let the device keep its credential."""
    confirmed: bool
    """False where the owner's last word never came, and the owner did not want to talk about it again."""
    rounds: int
    seconds: float


class Site(NamedTuple):
    """What onboarding needs of the machine."""

    modules: Callable[[], Sequence[DeviceModule]]
    """Fresh ones for each conversation."""
    facts: Devmod
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


class Onboarding:
    """One device's way to its owner."""

    def __init__(
        self, file: CredentialFile, transport: Transport, site: Site, options: Options, report: Report = ignore
    ) -> None:
        self._file = file
        self._transport = transport
        self._way = transport
        self._site = site
        self._options = options
        self._report = report
        self._failures = Failures()

    async def run(self, *, again: bool = False) -> Onboarded:
        """Onboard; `again` lets a device start over that has been onboarded, as it must after a resale.

        Raise StateError where the device's state does not allow it, OnboardingError when the rounds are used up.
        """
        with self._file.locked():
            self._record = _ready(await asyncio.to_thread(self._file.load), self._file, again=again)
            self._signer = self._record.signer()
            return await self._rounds()

    async def _rounds(self) -> Onboarded:
        started = time.monotonic()
        refusals = 0
        for number in itertools.count(1):
            done = await self._round()
            weight = self._failures.refusal(self._record)
            refusals = refusals + weight if weight else 0
            last = number == self._options.rounds
            if done is None and (refusals >= SETTLING_ROUNDS or (refusals and last)):
                done = await self._settle()
            if done is not None:
                done = msgspec.structs.replace(done, rounds=number, seconds=round(time.monotonic() - started, 3))
                self._tell("done", "onboarded" if done.confirmed else "onboarded, without the owner's last word")
                return done
            if last:
                break
            await self._wait(self._pause(number), f"round {number} led to no owner")
        raise OnboardingError(self._failures.summary(self._record))

    async def _round(self) -> Onboarded | None:
        self._failures = Failures()
        record = self._record
        for route in routes(record):
            self._way = self._transport.pinned(route.pins)
            if route.bypass:
                done = await self._try_owners(route.candidate, [route.url], None)
            else:
                done = await self._ask_rendezvous(route.candidate, route.url)
            if done is not None or self._record is not record:
                # A new candidate changes the routes, so the next round begins with that one.
                return done
            if route.delay:
                await self._wait(self._spread(route.delay), "the rendezvous info asks for a pause")
        return None

    async def _ask_rendezvous(self, candidate: Candidate, url: str) -> Onboarded | None:
        self._tell("step", f"asking the rendezvous at {url}", candidate.credential, url)
        try:
            async with self._talk(url, candidate.credential) as talk:
                to1d = await protocols.find_owner(talk, candidate.credential, self._signer)
                urls = owner_urls(to0.read_addresses(to1d))
                if not urls:
                    raise AddressError("the owner has registered no address over http or https")
        except (FdoError, TransportError) as error:
            self._note(candidate, url, error)
            return None
        # The certificate was that of the rendezvous; the owner proves itself by the voucher.
        self._way = self._transport
        return await self._try_owners(candidate, urls, to1d)

    async def _try_owners(self, candidate: Candidate, urls: list[str], to1d: Sign1 | None) -> Onboarded | None:
        for url in urls:
            self._tell("step", f"asking the owner at {url}", candidate.credential, url)
            try:
                return await self._negotiate(candidate, url, to1d)
            except (FdoError, TransportError) as error:
                self._note(candidate, url, error)
        return None

    async def _negotiate(self, candidate: Candidate, url: str, to1d: Sign1 | None) -> Onboarded:
        """Propose one suite after the other, until the owner takes one."""
        *others, last = protocols.suites(self._signer, self._options.kex, self._options.cipher)
        for suite in others:
            try:
                return await self._join(candidate, url, to1d, suite)
            except PeerError as error:
                if error.message_number != HelloDevice.number or error.peer_code not in _NEGOTIABLE:
                    raise
                self._tell("step", f"the owner does not take {suite.kex}", candidate.credential, url)
        return await self._join(candidate, url, to1d, last)

    async def _join(self, candidate: Candidate, url: str, to1d: Sign1 | None, suite: protocols.Suite) -> Onboarded:
        """TO2 as a whole, with what must be on disk before and after its last message."""
        old, options = candidate.credential, self._options
        terms = protocols.Terms(options.svk_length, options.allow_reuse, options.max_service_info)
        async with self._talk(url, old) as talk:
            joined, setup = await protocols.join(talk, old, self._signer, suite, to1d, terms)
            size = await protocols.get_ready(talk, joined, setup)
            conversation = DeviceConversation(self._site.modules(), self._site.facts, size)
            await protocols.converse(talk, joined, conversation)
            await self._keep(self._record.finishing(candidate, None if setup.reuse else setup.credential, url))
            await protocols.finish(talk, joined, options.done_pauses)
            await self._keep(self._record.settled("onboarded", setup.credential, url))
        return self._outcome(old, url, reused=setup.reuse)

    async def _settle(self) -> Onboarded:
        """Take the likeliest credential for the device's own; the others stay, in case that was wrong."""
        await self._keep(msgspec.structs.replace(self._record, state="onboarded"))
        first, *others = self._record.candidates
        return self._outcome(others[0].credential, first.owner_url or "", reused=False)

    def _outcome(self, old: Credential, url: str, *, reused: bool) -> Onboarded:
        return Onboarded(
            serial=self._record.serial,
            old_guid=old.guid.hex(),
            guid=self._record.guid,
            owner_url=url,
            reused=reused,
            confirmed=self._record.confirmed,
            rounds=0,
            seconds=0.0,
        )

    async def _keep(self, record: Record) -> None:
        if record is not self._record:
            await asyncio.to_thread(self._file.save, record)
            self._record = record

    def _talk(self, url: str, credential: Credential) -> AbstractAsyncContextManager[Dialogue]:
        about = Progress(kind="message", text="", serial=self._record.serial, guid=credential.guid.hex())
        return dialogue(self._way, url, about, self._report)

    def _tell(self, kind: Kind, text: str, credential: Credential | None = None, url: str = "") -> None:
        guid = credential.guid.hex() if credential else self._record.guid
        self._report(Progress(kind=kind, text=text, serial=self._record.serial, guid=guid, url=url))

    def _note(self, candidate: Candidate, url: str, error: Exception) -> None:
        self._failures.note(candidate, error)
        self._tell("failed", describe(error), candidate.credential, url)

    async def _wait(self, seconds: float, why: str) -> None:
        text = f"{why}; waiting {seconds:.1f} seconds"
        self._report(Progress(kind="waiting", text=text, serial=self._record.serial, seconds=seconds))
        await self._site.sleep(seconds)

    def _pause(self, number: int) -> float:
        asked = last_delay(self._record)
        if asked is not None:
            return self._spread(asked)
        options = self._options
        # The exponent is bounded because a device may count its rounds for years.
        return self._spread(min(options.first_delay * 2.0 ** min(number - 1, 30), options.longest_delay))

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + _SPREAD * (2 * self._site.chance() - 1))


def _ready(record: Record | None, file: CredentialFile, *, again: bool) -> Record:
    if record is None:
        raise StateError(f"there is no device in {file.path.parent}: initialise it first")
    if record.state == "onboarded" and not again:
        raise StateError(
            f"device {record.serial} ({record.guid}) has been onboarded already; ask for it again after a resale"
        )
    return record

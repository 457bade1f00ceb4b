"""DI at the manufacturer: AppStart(10) -> SetCredentials(11) -> SetHMAC(12) -> Done(13) (FDO 1.1, section 5.2).

Between 11 and 12 the session lives in the memory of the replica that answered 10, and its token is that session's
name. Before 13 is sent, voucher and events are on the disk in one transaction, with the sale where one applies.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import msgspec
import structlog

from ashore import bundles, cose
from ashore.bus import Bus
from ashore.certificates import CertificateError, requested_key
from ashore.events import VoucherExtended, VoucherIssued
from ashore.exchange import Exchange, Turn, Unavailable
from ashore.fdo import di, rvinfo
from ashore.fdo.codec import Message
from ashore.fdo.errors import InvalidMessageError, TokenError
from ashore.fdo.messages import AppStart, SetHmac
from ashore.fdo.types import key_types, storable
from ashore.fdo.voucher import Voucher
from ashore.keys import KINDS, FileKeyStore, KeyKind
from ashore.sessions import Sealer, SessionTable
from ashore.sql import StorageUnavailable
from ashore_manufacturer.model import (
    AUTHORITIES,
    Party,
    Policy,
    Sale,
    SaleRule,
    authority_for,
    kind_for,
    sell,
)
from ashore_manufacturer.store import Store, Telling, VoucherRow

ROLE: Final = "manufacturer"
POLICY_SECONDS: Final = 1.0
"""How soon a replica follows what was set at another one."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Maker(NamedTuple):
    """The manufacturer, by one of its keys."""

    signer: cose.KeySigner
    kind: KeyKind
    party: Party

    @property
    def fingerprint(self) -> str:
        """Of the key."""
        return self.party.fingerprints[self.kind]


class Keyring:
    """The manufacturer's keys. A key is made when the first device of its kind comes; RSA takes up to a second."""

    def __init__(self, store: FileKeyStore, choice: Literal["match"] | KeyKind) -> None:
        self._store = store
        self._choice = choice
        self._makers: dict[KeyKind, Maker] = {}

    async def warm_up(self) -> None:
        """Load what most devices need, so that a key file of no use shows at the start; raise KeysError."""
        for kind in AUTHORITIES:
            await asyncio.to_thread(self._store.device_authority, kind)
        for kind in AUTHORITIES if self._choice == "match" else (self._choice,):
            await self.maker(kind)

    async def maker_for(self, device: cose.PublicKey) -> Maker:
        """The key that goes with a device's."""
        return await self.maker(kind_for(self._choice, device))

    async def maker(self, kind: KeyKind) -> Maker:
        """The key of a kind; raise KeysError."""
        maker = self._makers.get(kind)
        if maker is None:
            signer = await asyncio.to_thread(self._store.signer, ROLE, kind)
            maker = self._makers[kind] = Maker(signer, kind, Party([signer.public_key], signer.chain))
        return maker

    async def makers(self) -> list[Maker]:
        """All that new vouchers may carry."""
        return [await self.maker(kind) for kind in KINDS if self._choice in ("match", kind)]

    def certify(self, device: cose.PublicKey, subject: str, now: datetime) -> tuple[bytes, ...]:
        """A certificate chain for a device."""
        return tuple(self._store.device_authority(authority_for(device)).issue(device, subject=subject, now=now))


class Policies:
    """What people have set, read again when it is a second old, so that replicas agree without talking."""

    def __init__(self, store: Store, default: Policy, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._default = default
        self._clock = clock
        self._documents: dict[str, bytes] = {}
        self._policy = default
        self._read_at: float | None = None

    async def current(self) -> Policy:
        """What holds now; raise StorageUnavailable."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= POLICY_SECONDS:
            documents = await self._store.documents()
            self._read_at = now
            if documents != self._documents:
                self._policy, self._documents = read_policy(documents, self._default), documents
        return self._policy

    def forget(self) -> None:
        """Read it again the next time."""
        self._read_at = None


def read_policy(documents: dict[str, bytes], default: Policy) -> Policy:
    """Take the policy out of the documents."""
    policy = default
    if "rvinfo" in documents:
        given = msgspec.json.decode(documents["rvinfo"], type=list[rvinfo.Directive])
        policy = policy._replace(rv_info=rvinfo.encode(given))
    if "sale-rules" in documents:
        rules = msgspec.json.decode(documents["sale-rules"], type=list[SaleRule])
        policy = policy._replace(rules=[(rule, Party(bundles.read(rule.owner_keys.encode()))) for rule in rules])
    return policy


class Initialisation(NamedTuple):
    """A DI under way."""

    session: di.DiSession
    maker: Maker
    policy: Policy


class ManufacturerExchange(Exchange):
    """The FDO endpoint of the manufacturer."""

    accepts = (AppStart, SetHmac)
    sticky = frozenset({SetHmac.number})
    service = "manufacturer"

    def __init__(
        self,
        sealer: Sealer,
        bus: Bus,
        replica: str,
        *,
        keyring: Keyring,
        store: Store,
        policies: Policies,
        capacity: int = 4096,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sealer, bus, replica, clock)
        self._keyring = keyring
        self._store = store
        self._policies = policies
        self.sessions: SessionTable[Initialisation] = SessionTable(capacity, self._seconds, clock)
        self._trouble = ""

    async def answer(self, message: Message, turn: Turn) -> tuple[Message, str | None]:
        """Answer one lawful message."""
        try:
            if isinstance(message, AppStart):
                return await self._set_credentials(message, turn)
            assert isinstance(message, SetHmac)  # noqa: S101 - `accepts` says so
            answer = await self._done(message, turn)
        except StorageUnavailable as error:
            self._note(str(error))
            raise Unavailable("the manufacturer cannot store anything at the moment; try again later") from error
        self._note("")
        return answer

    async def _set_credentials(self, message: AppStart, turn: Turn) -> tuple[Message, str]:
        """AppStart(10) -> SetCredentials(11)."""
        info = di.read_info(message)
        device = read_device_key(info)
        maker, policy = await self._keyring.maker_for(device), await self._policies.current()
        public = maker.party.encoded(maker.kind, info.encoding, info.key_type)
        chain = self._keyring.certify(device, info.serial, datetime.fromtimestamp(self._clock(), UTC))
        guid = self.entropy.random(16)
        turn.guid = guid.hex()
        session, reply = di.set_credentials(info, guid, policy.rv_info, public, chain, device)
        self.sessions.put(turn.guid, Initialisation(session, maker, policy))
        return reply, self.issue(reply, guid)

    async def _done(self, message: SetHmac, turn: Turn) -> tuple[Message, None]:
        """SetHMAC(12) -> Done(13)."""
        turn.guid = turn.ticket.payload.hex()
        # Taken, not read: of two answers with one token only one can become a voucher.
        initialisation = self.sessions.take(turn.guid)
        if initialisation is None:
            raise TokenError("this initialisation is over, or was given up; begin again with message 10")
        voucher, reply = di.done(initialisation.session, message)
        row, telling = self._record(voucher, initialisation, turn)
        try:
            await self._store.issue(row, telling)
        except StorageUnavailable:
            self.sessions.put(turn.guid, initialisation)
            raise
        return reply, None

    def _note(self, trouble: str) -> None:
        """Log the storage's trouble once, and its end: not for every device that is sent away."""
        if trouble and trouble != self._trouble:
            log.warning("vouchers cannot be stored", reason=trouble)
        elif self._trouble and not trouble:
            log.info("vouchers are stored again")
        self._trouble = trouble

    def _record(self, voucher: Voucher, initialisation: Initialisation, turn: Turn) -> tuple[VoucherRow, Telling]:
        serial, device_info = storable(initialisation.session.serial), storable(voucher.header.device_info)
        key_type, now = voucher.header.public_key.type.name, int(self._clock() * 1000)
        issued = VoucherIssued(guid=turn.guid, serial=serial, device_info=device_info, key_type=key_type)
        owner_key = initialisation.maker.fingerprint
        row = VoucherRow(turn.guid, serial, device_info, "issued", key_type, owner_key, now, None, b"")
        telling = Telling([issued], source_of(self.replica), turn.request.traceparent)
        sale = _sale(voucher, initialisation, serial, device_info)
        if sale is None:
            return row._replace(voucher=voucher.encode()), telling
        row, extended = extension(row, sale, now)
        return row, telling._replace(events=[issued, extended])


def source_of(replica: str) -> str:
    """Who tells the manufacturer's events."""
    return f"/manufacturer/{replica}"


def read_device_key(info: di.ManufacturingInfo) -> cose.PublicKey:
    """The key that the device has proved to hold; raise InvalidMessageError."""
    try:
        key = requested_key(info.csr)
    except CertificateError as error:
        raise InvalidMessageError(str(error)) from error
    if info.key_type not in key_types(key):
        raise InvalidMessageError(
            f"the device announces a key of type {info.key_type.name}, "
            f"but asks for a certificate for one of type {key_types(key)[0].name}"
        )
    return key


def extension(row: VoucherRow, sale: Sale, now: int) -> tuple[VoucherRow, VoucherExtended]:
    """A voucher's record and event after its sale."""
    body = sale.voucher.encode()
    event = VoucherExtended(
        guid=row.guid,
        serial=row.serial,
        voucher=base64.b64encode(body).decode("ascii"),
        owner_key=sale.owner_key,
        digest=hashlib.sha256(body).hexdigest(),
    )
    return row._replace(state="extended", owner_key=sale.owner_key, extended_at=now, voucher=body), event


def _sale(voucher: Voucher, initialisation: Initialisation, serial: str, device_info: str) -> Sale | None:
    maker, buyer = initialisation.maker, initialisation.policy.buyer(serial, device_info)
    if buyer is None:
        return None
    sale = sell(voucher, maker.signer, buyer)
    if sale is None:
        log.warning(
            "the buyer has no key of this device's kind: add one to the bundle, then extend the voucher",
            guid=voucher.guid.hex(),
            kind=maker.kind,
        )
    return sale

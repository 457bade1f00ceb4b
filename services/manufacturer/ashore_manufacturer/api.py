"""The manufacturer's management API: vouchers and their sale, where new devices look for their owner, keys."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Meta
from sqlalchemy import Row
from starlette.responses import Response

from ashore import bundles
from ashore.bundles import BundleError
from ashore.fdo import rvinfo
from ashore.fdo import voucher as vouchers
from ashore.fdo.errors import MessageBodyError, VoucherError
from ashore.fdo.rvinfo import Directive
from ashore.fdo.types import fingerprint, storable
from ashore.fdo.voucher import Voucher
from ashore.http.problems import Problem
from ashore.http.routes import Handler, Method, Request, Route
from ashore.keys import KeyKind
from ashore.telemetry import parse_traceparent
from ashore_manufacturer.model import (
    Party,
    SaleRule,
    VoucherDetail,
    VoucherPage,
    VoucherState,
    VoucherSummary,
    check_hashes,
    dead_end,
    kind_of,
    sell,
    warnings,
)
from ashore_manufacturer.protocol import Keyring, Maker, Policies, extension, source_of
from ashore_manufacturer.store import Store, Telling, VoucherRow

_GUID: Final = re.compile(r"[0-9a-f]{32}")


class Filters(msgspec.Struct, kw_only=True):
    """Which vouchers to list."""

    serial: Annotated[str, Meta(description="Exactly this serial number, the newest voucher first.")] | None = None
    state: VoucherState | None = None
    search: Annotated[str, Meta(description="How the serial number or the GUID begins.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(description="`next` of the page before.")] | None = None


class Extension(msgspec.Struct, forbid_unknown_fields=True):
    """An order to sell a device."""

    owner_key: Annotated[str, Meta(description="The buyer's public keys in PEM: one of the device's kind suffices.")]


class RvInfoSet(msgspec.Struct):
    """What new devices are told from now on."""

    directives: list[Directive]
    warnings: Annotated[list[str], Meta(description="What some devices in the field would not understand.")]


class Key(msgspec.Struct):
    """A key of the manufacturer."""

    kind: KeyKind
    fingerprint: str
    pem: Annotated[str, Meta(description="The public key: a block of a bundle.")]
    certificates: Annotated[str, Meta(description="Its certificates in PEM, leaf first.")]


class Api:
    """The handlers."""

    def __init__(self, store: Store, policies: Policies, keyring: Keyring, replica: str) -> None:
        self._store = store
        self._policies = policies
        self._keyring = keyring
        self._source = source_of(replica)

    def routes(self) -> list[Route]:
        """Every operation."""
        one = "/vouchers/{guid}"
        return [
            _get("/vouchers", self.list_vouchers, "List vouchers", VoucherPage, query=Filters),
            _get(one, self.show_voucher, "Show a voucher", VoucherDetail),
            _get(f"{one}/pem", self.voucher_pem, "Get a voucher in PEM", bytes),
            _get(f"{one}/cbor", self.voucher_cbor, "Get a voucher in CBOR", bytes),
            _set("POST", f"{one}/extend", self.extend_voucher, "Sell a device to a buyer", Extension, VoucherDetail),
            _get("/rvinfo", self.get_rvinfo, "Show where new devices look for their owner", list[Directive]),
            _set("PUT", "/rvinfo", self.put_rvinfo, "Say where new devices shall look", list[Directive], RvInfoSet),
            _get("/sale-rules", self.get_rules, "Show to whom new devices are sold", list[SaleRule]),
            _set("PUT", "/sale-rules", self.put_rules, "Replace the sale rules", list[SaleRule], list[SaleRule]),
            _get("/keys", self.keys, "List the manufacturer's keys", list[Key]),
        ]

    async def list_vouchers(self, request: Request) -> VoucherPage:
        """A page of vouchers."""
        filters = request.filters(Filters)
        if filters.serial is not None and filters.search is not None:
            raise Problem(422, "serial and search exclude each other", remedy="give one of them")
        after, limit = filters.cursor, filters.limit
        if filters.search:
            found = await self._store.search(filters.state, storable(filters.search), after=after, limit=limit)
        else:
            serial = None if filters.serial is None else storable(filters.serial)
            found = await self._store.newest(filters.state, serial, after=after, limit=limit)
        return VoucherPage([_summary(row) for row in found.rows], found.next)

    async def show_voucher(self, request: Request) -> VoucherDetail:
        """One voucher."""
        return _detail(await self._find(request))

    async def voucher_pem(self, request: Request) -> Response:
        """One voucher in the form that every FDO stack reads."""
        row = await self._find(request)
        return _download(vouchers.to_pem(Voucher.decode(row.voucher)), f"{row.guid}.pem", "application/x-pem-file")

    async def voucher_cbor(self, request: Request) -> Response:
        """One voucher as it is."""
        row = await self._find(request)
        return _download(bytes(row.voucher), f"{row.guid}.cbor", "application/cbor")

    async def extend_voucher(self, request: Request) -> VoucherDetail:
        """Sell a device; the same order again is no harm."""
        row, buyer = await self._find(request), _bundle(request.payload(Extension).owner_key)
        if row.state == "issued":
            await self._extend(row, buyer, parse_traceparent(request.headers.get("traceparent")))
            row = await self._find(request)
        if row.owner_key not in buyer.fingerprints.values():
            raise Problem(
                409,
                f"the voucher {row.guid} was extended already, to the key {row.owner_key}",
                remedy=f"its owner can sell it on: `ashore voucher extend {row.guid} --at owner --to FILE`",
            )
        return _detail(row)

    async def get_rvinfo(self, _request: Request) -> list[Directive]:
        """What new devices are told."""
        return rvinfo.decode((await self._policies.current()).rv_info)

    async def put_rvinfo(self, request: Request) -> RvInfoSet:
        """Tell new devices something else."""
        given = request.decoded_body
        assert isinstance(given, list)  # noqa: S101 - the route says so
        _check_directives(given)
        await self._store.put_document("rvinfo", msgspec.json.encode(given), _now())
        self._policies.forget()
        return RvInfoSet(given, warnings(given))

    async def get_rules(self, _request: Request) -> list[SaleRule]:
        """The sale rules in order."""
        return [rule for rule, _ in (await self._policies.current()).rules]

    async def put_rules(self, request: Request) -> list[SaleRule]:
        """Replace the sale rules."""
        given = request.decoded_body
        assert isinstance(given, list)  # noqa: S101 - the route says so
        for number, rule in enumerate(given, 1):
            _bundle(rule.owner_keys, f"rule {number}: ")
        await self._store.put_document("sale-rules", msgspec.json.encode(given), _now())
        self._policies.forget()
        return given

    async def keys(self, _request: Request) -> list[Key]:
        """The keys, made where they are missing."""
        return [_key(maker) for maker in await self._keyring.makers()]

    async def _find(self, request: Request) -> Row[Any]:
        guid = request.path_params["guid"].lower().replace("-", "")
        row = await self._store.find(guid) if _GUID.fullmatch(guid) else None
        if row is None:
            raise Problem(
                404,
                f"there is no voucher of the device '{guid[:64]}'",
                remedy="list them: `ashore voucher list`",
            )
        return row

    async def _extend(self, row: Row[Any], buyer: Party, trace: str | None) -> None:
        voucher = Voucher.decode(row.voucher)
        maker = await self._keyring.maker(kind_of(voucher.owner_key))
        try:
            sale = sell(voucher, maker.signer, buyer)
        except VoucherError as error:
            raise Problem(
                409, str(error), remedy="put the key back with which the voucher was made, and restart"
            ) from error
        if sale is None:
            raise Problem(
                422,
                f"the buyer has no key of the kind {maker.kind}, which this voucher needs",
                remedy=f"give a {maker.kind} public key; the device can check no other",
            )
        record, event = extension(VoucherRow._make(row[1:]), sale, _now())
        await self._store.extend(record, Telling([event], self._source, trace))


def _get(path: str, handler: Handler, summary: str, response: Any, query: type[Any] | None = None) -> Route:
    tags = [path.split("/")[1]]
    return Route("GET", f"/api/v1{path}", handler, summary, "read", response=response, query=query, tags=tags)


def _set(method: Method, path: str, handler: Handler, summary: str, request: Any, response: Any) -> Route:
    tags = [path.split("/")[1]]
    return Route(method, f"/api/v1{path}", handler, summary, "write", request=request, response=response, tags=tags)


def _check_directives(given: Sequence[Directive]) -> None:
    if not given:
        raise Problem(422, "the list is empty: devices would never find their owner", remedy="give a directive")
    try:
        rvinfo.encode(list(given))
        check_hashes(given)
    except (MessageBodyError, ValueError) as error:
        raise Problem(422, f"the directives cannot be encoded: {error}", remedy="correct the value") from error
    reason = dead_end(given)
    if reason is not None:
        remedy = "give a directive with a name or an address and the protocol http or https, or two: one for each"
        raise Problem(422, f"the directives lead nowhere: {reason}", remedy=remedy)


def _bundle(pem: str, where: str = "") -> Party:
    try:
        return Party(bundles.read(pem.encode()))
    except BundleError as error:
        raise Problem(
            422, f"{where}{error}", remedy="give the buyer's PUBLIC KEY or CERTIFICATE blocks in PEM"
        ) from error


def _summary(row: Row[Any]) -> VoucherSummary:
    return VoucherSummary(
        guid=row.guid,
        serial=row.serial,
        device_info=row.device_info,
        state=row.state,
        key_type=row.key_type,
        owner_key=row.owner_key,
        created_at=_moment(row.created_at),
        extended_at=None if row.extended_at is None else _moment(row.extended_at),
    )


def _detail(row: Row[Any]) -> VoucherDetail:
    voucher, summary = Voucher.decode(row.voucher), _summary(row)
    return VoucherDetail(
        **msgspec.structs.asdict(summary),
        digest=voucher.digest,
        key_encoding=voucher.header.public_key.encoding.name,
        device_key=fingerprint(voucher.device_key),
        owners=[key.fingerprint() for key in voucher.public_keys],
        rv_info=rvinfo.decode(voucher.header.rv_info),
    )


def _key(maker: Maker) -> Key:
    chain = (x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in maker.signer.chain)
    pem = bundles.to_pem(maker.signer.public_key)
    return Key(maker.kind, maker.fingerprint, pem, b"".join(chain).decode("ascii"))


def _download(content: str | bytes, name: str, kind: str) -> Response:
    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _now() -> int:
    return int(time.time() * 1000)

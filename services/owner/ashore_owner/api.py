"""The owner's management API: vouchers, devices, the waiting room. Profiles are in `api_profiles`."""

import re
import time
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from starlette.responses import Response

from ashore import bundles, cose
from ashore.certificates import serial_number
from ashore.cose import Signer
from ashore.devices import DeviceState
from ashore.events import EventError
from ashore.fdo import voucher as vouchers
from ashore.fdo.errors import FdoError, VoucherError
from ashore.fdo.types import encode_public_key, key_types
from ashore.fdo.voucher import Voucher
from ashore.http.problems import Problem
from ashore.http.routes import LARGEST_BODY, Request, Route
from ashore_owner.api_profiles import no_profile
from ashore_owner.catalogue import Catalogue
from ashore_owner.model import DeviceDetails, Imported, ImportReport, Page, Waiting
from ashore_owner.queries import Queries
from ashore_owner.store import Store
from ashore_owner.to0 import Registrar

PEM: Final = "application/x-pem-file"
_GUID: Final = re.compile(r"[0-9a-f]{32}")
_IMPORT: Final = "Import its voucher: `ashore voucher import FILE`."


class Filter(msgspec.Struct, kw_only=True):
    """Which devices, and which page of them."""

    state: DeviceState | None = None
    search: Annotated[str | None, Meta(description="Beginning of a GUID or of a serial number.")] = None
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: str | None = None


class Upload(msgspec.Struct, kw_only=True):
    """What is known of the devices beside their vouchers."""

    serial: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=255,
                description="Serial number of the device, where there is only one voucher; by default the one that "
                "the device's certificate names.",
            ),
        ]
        | None
    ) = None


class OwnerKey(msgspec.Struct, kw_only=True):
    """The next owner."""

    owner_key: Annotated[str, Meta(description="PEM: public keys or certificates; the one of the right kind is used.")]


class ProfileChoice(msgspec.Struct, kw_only=True):
    """A profile chosen by hand; null leaves it to the rules."""

    profile: str | None


class Key(msgspec.Struct, kw_only=True):
    """One of this owner's public keys."""

    kind: str
    fingerprint: str
    pem: str


class Api:
    """The operations; `routes` lists them."""

    def __init__(
        self, store: Store, queries: Queries, catalogue: Catalogue, registrar: Registrar, signers: dict[str, Signer]
    ) -> None:
        self._store = store
        self._queries = queries
        self._catalogue = catalogue
        self._registrar = registrar
        self._signers = signers

    def routes(self) -> list[Route]:
        """Every operation of the owner service."""
        return [*self._voucher_routes(), *self._device_routes()]

    def _voucher_routes(self) -> list[Route]:
        path, tags = "/api/v1/vouchers", ("vouchers",)
        one = path + "/{guid}"
        return [
            Route("GET", path, self._devices, "List vouchers", "read", response=Page, query=Filter, tags=tags),
            Route(
                "POST",
                path,
                self._import,
                "Import vouchers, PEM blocks or CBOR",
                "write",
                request=bytes,
                response=ImportReport,
                query=Upload,
                tags=tags,
                body_limit=LARGEST_BODY,
            ),
            Route("GET", one, self._device, "Show a voucher's device", "read", response=DeviceDetails, tags=tags),
            Route("GET", one + "/pem", self._pem, "Export a voucher", "read", tags=tags),
            Route("DELETE", one, self._remove, "Forget a voucher and its device", "write", status=204, tags=tags),
            Route("POST", one + "/extend", self._extend, "Sell a device on", "write", request=OwnerKey, tags=tags),
            Route("POST", one + "/register", self._register, "Register now (TO0)", "write", status=202, tags=tags),
            Route("GET", "/api/v1/keys", self._keys, "This owner's public keys", "read", response=list[Key], tags=tags),
        ]

    def _device_routes(self) -> list[Route]:
        path, tags = "/api/v1/devices", ("devices",)
        one = path + "/{guid}"
        file = "/api/v1/onboardings/{id}/files/{position:int}"
        return [
            Route("GET", path, self._devices, "List devices", "read", response=Page, query=Filter, tags=tags),
            Route("GET", one, self._device, "Show a device", "read", response=DeviceDetails, tags=tags),
            Route(
                "PUT", one + "/profile", self._choose, "Choose its profile", "write", request=ProfileChoice, tags=tags
            ),
            Route("GET", file, self._file, "A file that a device sent", "read", tags=tags),
            Route("GET", "/api/v1/waiting", self._waiting, "Who waits", "read", response=list[Waiting], tags=tags),
        ]

    # Vouchers.

    async def _import(self, request: Request) -> ImportReport:
        try:
            found = vouchers.read(request.payload(bytes))
        except VoucherError as error:
            raise Problem(400, error.reason, remedy="Send vouchers as PEM blocks, or one in CBOR.") from error
        serial = _printable(request.filters(Upload).serial or "")
        if serial and len(found) > 1:
            raise Problem(400, f"one serial number for {len(found)} vouchers", remedy="Send them one by one.")
        return ImportReport(items=[await self._import_one(voucher, serial) for voucher in found])

    async def _import_one(self, voucher: Voucher, given: str) -> Imported:
        guid, device_info = voucher.guid.hex(), voucher.header.device_info
        try:
            vouchers.verify(voucher)
            if voucher.owner_public_key.fingerprint() not in self._signers:
                raise VoucherError("the voucher belongs to another key: have it extended to one of this owner's keys")
        except FdoError as error:
            return Imported(guid=guid, device_info=device_info, verdict="refused", reason=error.reason)
        serial = given or serial_number(voucher.chain[0] if voucher.chain else b"")
        known = None if serial else await self._queries.device(guid)
        serial = serial or (known.serial if known else device_info)
        try:
            is_new = await self._store.add(voucher, serial=serial, origin="upload", now=_now())
        except EventError as error:
            return Imported(guid=guid, verdict="refused", reason=f"the voucher says more than can be told: {error}")
        if is_new:
            return Imported(guid=guid, serial=serial, device_info=device_info, verdict="imported")
        return await self._known(guid, given)

    async def _known(self, guid: str, given: str) -> Imported:
        device = await self._queries.device(guid)
        serial, device_info = (device.serial, device.device_info) if device else ("", None)
        reason = f"it keeps the serial number {serial}: forget the device first" if given not in ("", serial) else ""
        return Imported(guid=guid, serial=serial, device_info=device_info, verdict="known", reason=reason)

    async def _pem(self, request: Request) -> Response:
        voucher = await self._voucher(request)
        name = f"{voucher.guid.hex()}.pem"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(vouchers.to_pem(voucher), media_type=PEM, headers=headers)

    async def _remove(self, request: Request) -> None:
        if not await self._store.remove(_guid(request)):
            raise _unknown(request)

    async def _extend(self, request: Request) -> Response:
        voucher = await self._voucher(request)
        signer = self._signers.get(voucher.owner_public_key.fingerprint())
        if signer is None:
            raise _sold_already()
        try:
            extended = _sold(voucher, signer, bundles.read(request.payload(OwnerKey).owner_key.encode()))
        except (FdoError, ValueError) as error:
            raise Problem(400, str(error), remedy="Give the buyer's public key or certificate in PEM.") from error
        if not await self._store.sell(voucher.guid.hex(), extended):
            raise _sold_already()
        return Response(vouchers.to_pem(extended), media_type=PEM)

    async def _register(self, request: Request) -> None:
        if not await self._registrar.register_now(_guid(request)):
            raise _unknown(request)

    async def _keys(self, _request: Request) -> list[Key]:
        return [
            Key(
                kind=key_types(signer.public_key)[0].name,
                fingerprint=name,
                pem=bundles.to_pem(signer.public_key),
            )
            for name, signer in self._signers.items()
        ]

    # Devices.

    async def _devices(self, request: Request) -> Page:
        wanted = request.filters(Filter)
        state = wanted.state.value if wanted.state else None
        return await self._queries.devices(state=state, search=wanted.search, limit=wanted.limit, cursor=wanted.cursor)

    async def _device(self, request: Request) -> DeviceDetails:
        device = await self._queries.device(_guid(request))
        if device is None:
            raise _unknown(request)
        ledger = await self._queries.ledger(device.guid)
        return DeviceDetails(**msgspec.structs.asdict(device), onboardings=ledger)

    async def _choose(self, request: Request) -> None:
        profile = request.payload(ProfileChoice).profile
        if profile is not None and await self._catalogue.profile(profile) is None:
            raise no_profile(profile)
        if not await self._store.choose_profile(_guid(request), profile):
            raise _unknown(request)

    async def _file(self, request: Request) -> Response:
        content = await self._queries.file(request.path_params["id"], request.path_params["position"])
        if content is None:
            raise Problem(404, "this step fetched no file")
        return Response(content, media_type="application/octet-stream")

    async def _waiting(self, _request: Request) -> list[Waiting]:
        return await self._queries.waiting()

    async def _voucher(self, request: Request) -> Voucher:
        voucher = await self._store.voucher(_guid(request))
        if voucher is None:
            raise _unknown(request)
        return voucher


def _sold(voucher: Voucher, signer: Signer, buyers: list[cose.PublicKey]) -> Voucher:
    buyer = bundles.of_kind(buyers, voucher.header.public_key.key())
    if buyer is None:
        raise VoucherError(f"none of the keys is of the kind {voucher.header.public_key.type.name}")
    # Entries carry the encoding of the header: the C client reads no other.
    return vouchers.extend(voucher, signer, encode_public_key(buyer, voucher.header.public_key.encoding))


def _sold_already() -> Problem:
    return Problem(409, "the device has been sold already", remedy="Get the voucher as it is: GET .../pem.")


def _guid(request: Request) -> str:
    guid = _named(request)
    if not _GUID.fullmatch(guid):
        raise _unknown(request)
    return guid


def _unknown(request: Request) -> Problem:
    return Problem(404, f"this owner has no voucher for device {_named(request)[:64]}", remedy=_IMPORT)


def _named(request: Request) -> str:
    return str(request.path_params["guid"]).lower().replace("-", "")


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _now() -> int:
    return int(time.time() * 1000)

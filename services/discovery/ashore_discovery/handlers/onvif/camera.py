"""The questions that a device answers over SOAP 1.2: what it is, and which hardware addresses it has.

A question is first asked without credentials. Only who refuses it gets a digest of the password: by HTTP Digest where
it has asked for that, otherwise in the way of WS-Security.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import Element

import msgspec

from ashore_discovery.handlers import markup
from ashore_discovery.handlers.http import LARGEST_BODY, Answer, HttpError, Place, ask
from ashore_discovery.handlers.markup import MarkupError, child, descendant, local, text
from ashore_discovery.handlers.onvif import security
from ashore_discovery.handlers.onvif.credentials import Credential

MOST_TRIED: Final = 2
"""So many credentials are tried; cameras lock out who tries more."""
MOST_INTERFACES: Final = 16
_DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
_SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
_REFUSED: Final = frozenset({"NotAuthorized", "FailedAuthentication", "InvalidSecurity", "InvalidSecurityToken"})
_INFORMATION: Final = {
    "vendor": "Manufacturer",
    "model": "Model",
    "firmware": "FirmwareVersion",
    "serial": "SerialNumber",
    "hardware_id": "HardwareId",
}
Headers = dict[str, str]


class RefusedError(Exception):
    """The device wants credentials: there are none (`missing`), or it does not take them (`refused`)."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class FaultError(Exception):
    """The device has answered that it will not, or cannot."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a device has told of itself."""

    facts: dict[str, str] = {}
    macs: list[str] = []
    credentials: str = ""
    """`accepted`, `refused`, `missing`; empty where none were wanted."""


class Camera:
    """One device, while it is asked."""

    def __init__(
        self,
        where: Place,
        candidates: Sequence[Credential],
        *,
        clock: Callable[[], float],
        pace: Callable[[], Awaitable[None]],
    ) -> None:
        self._where = where
        self._candidates = candidates[:MOST_TRIED]
        self._clock = clock
        self._pace = pace
        self._skew = 0.0
        self._proven: Credential | None = None
        self._by_http = False

    async def answers(self) -> bool:
        """Whether something that speaks HTTP is there, whatever it answers."""
        try:
            await self._post("GetSystemDateAndTime")
        except HttpError:
            return False
        return True

    async def tell(self) -> Told:
        """Everything; raise HttpError where it cannot be asked at all."""
        try:
            information = await self._ask("GetDeviceInformation")
        except RefusedError as error:
            return Told(credentials=error.why)
        except FaultError:
            information = None
        facts = {name: text(descendant(information, element)) for name, element in _INFORMATION.items()}
        return Told(
            facts={name: value for name, value in facts.items() if value},
            macs=await self._macs(),
            credentials="accepted" if self._proven else "",
        )

    async def _macs(self) -> list[str]:
        try:
            return hardware_addresses(await self._ask("GetNetworkInterfaces"))
        except (FaultError, RefusedError, HttpError):
            # Plain users may not ask this at some makers', and small devices do not have it.
            return []

    async def _ask(self, operation: str) -> Element:
        if self._proven is not None:
            return _body(await self._signed(operation, self._proven, self._by_http))
        answer = await self._post(operation)
        if not _refuses(answer):
            return _body(answer)
        if not self._candidates:
            raise RefusedError("missing")
        self._skew = await self._clock_skew()
        for candidate in self._candidates:
            for by_http in (True, False) if security.challenge(answer.all("www-authenticate")) else (False,):
                answer = await self._signed(operation, candidate, by_http)
                if not _refuses(answer):
                    self._proven, self._by_http = candidate, by_http
                    return _body(answer)
        raise RefusedError("refused")

    async def _signed(self, operation: str, who: Credential, by_http: bool) -> Answer:  # noqa: FBT001 - one of two ways
        if not by_http:
            at = self._clock() + self._skew
            return await self._post(
                operation, security.username_token(who.username, who.password, secrets.token_bytes(16), at)
            )
        asked = security.challenge((await self._post(operation)).all("www-authenticate"))
        if asked is None:
            return Answer(401, [], b"")
        value = security.authorization(
            asked, who.username, who.password, self._where.target, cnonce=secrets.token_hex(8)
        )
        return await self._post(operation, headers={"Authorization": value})

    async def _clock_skew(self) -> float:
        """By how much its clock is ahead of ours; cameras without NTP are years behind, and refuse our time."""
        answer = await self._post("GetSystemDateAndTime")
        try:
            at = moment(_body(answer))
        except FaultError:
            return 0.0
        return 0.0 if at is None else at - self._clock()

    async def _post(self, operation: str, security_header: str = "", headers: Headers | None = None) -> Answer:
        await self._pace()
        action = f'action="{_DEVICE}/{operation}"'
        return await ask(
            self._where,
            {"Content-Type": f"application/soap+xml; charset=utf-8; {action}", **(headers or {})},
            envelope(operation, security_header),
        )


def envelope(operation: str, security_header: str = "") -> bytes:
    """A question without arguments."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{_SOAP}"><s:Header>{security_header}</s:Header>'
        f'<s:Body><tds:{operation} xmlns:tds="{_DEVICE}"/></s:Body></s:Envelope>'
    ).encode()


def hardware_addresses(answer: Element) -> list[str]:
    """The hardware addresses in an answer to GetNetworkInterfaces, as `aa:bb:cc:dd:ee:ff`; wired ones come first."""
    found = [text(one) for one in answer.iter() if local(one) == "HwAddress"]
    plain = [one.replace("-", ":").lower() for one in found[:MOST_INTERFACES] if len(one) <= 17]  # noqa: PLR2004
    return list(dict.fromkeys(one for one in plain if one))


def moment(answer: Element) -> float | None:
    """The time in an answer to GetSystemDateAndTime, in seconds since 1970."""
    utc = descendant(answer, "UTCDateTime")
    fields = [text(child(utc, "Date", name)) for name in ("Year", "Month", "Day")]
    fields += [text(child(utc, "Time", name)) for name in ("Hour", "Minute", "Second")]
    try:
        # A leap second is the 60th, which no datetime knows.
        year, month, day, hour, minute, second = (int(field[:5]) for field in fields)
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _refuses(answer: Answer) -> bool:
    if answer.status == 401:  # noqa: PLR2004
        return True
    fault = _fault(answer)
    return fault is not None and any(text(one).rpartition(":")[2] in _REFUSED for one in fault.iter())


def _fault(answer: Answer) -> Element | None:
    try:
        return child(markup.read(answer.body, LARGEST_BODY), "Body", "Fault")
    except MarkupError:
        return None


def _body(answer: Answer) -> Element:
    """The body of a good answer; raise FaultError. A redirect is none."""
    if answer.status != 200 or _fault(answer) is not None:  # noqa: PLR2004
        raise FaultError(f"status {answer.status}")
    try:
        body = child(markup.read(answer.body, LARGEST_BODY), "Body")
    except MarkupError as error:
        raise FaultError(str(error)) from error
    if body is None:
        raise FaultError("no body")
    return body

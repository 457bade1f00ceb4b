"""The rendezvous' management API: who is registered, and who may be."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ashore.http.problems import Problem
from ashore.http.routes import Handler, Method, Request, Route
from ashore_rendezvous.model import (
    Blob,
    RegistrationPage,
    RegistrationView,
    Rule,
    RuleKind,
    RuleOrder,
    RulePage,
    RuleView,
    moment,
)
from ashore_rendezvous.store import Registrations, Rules

_GUID: Final = re.compile(r"[0-9a-f]{32}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_FORMS: Final = {
    "owner": (_FINGERPRINT, "64 hex digits, the SHA-256 of the owner's public key"),
    "manufacturer": (_FINGERPRINT, "64 hex digits, the SHA-256 of the manufacturer's public key"),
    "voucher": (_GUID, "32 hex digits, the device's GUID"),
}


class Paging(msgspec.Struct, kw_only=True):
    """Which page of a list."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(pattern=r"^[a-z0-9.]{0,128}$", description="`next` of the page before.")] = ""


class Api:
    """The handlers."""

    def __init__(self, registrations: Registrations, rules: Rules, clock: Callable[[], float]) -> None:
        self._registrations = registrations
        self._rules = rules
        self._clock = clock

    def routes(self) -> list[Route]:
        """Every operation."""
        registration, rule = "/registrations/{guid}", "/rules/{kind}/{id}"
        return [
            _route("GET", "/registrations", self.registrations, "List", RegistrationPage, query=Paging),
            _route("GET", registration, self.registration, "Show where a device will be sent", RegistrationView),
            _route("DELETE", registration, self.delete_registration, "End a registration now"),
            _route("GET", "/rules", self.rules, "List whom the operator allows and denies", RulePage, query=Paging),
            _route("PUT", rule, self.put_rule, "Allow or deny", RuleView, request=RuleOrder),
            _route("DELETE", rule, self.delete_rule, "Take a rule back"),
        ]

    async def registrations(self, request: Request) -> RegistrationPage:
        """A page of registrations."""
        paging = request.filters(Paging)
        found, following = await self._registrations.page(paging.cursor, paging.limit)
        return RegistrationPage([_registration(guid, blob) for guid, blob in found], following)

    async def registration(self, request: Request) -> RegistrationView:
        """One registration."""
        guid = _name("voucher", request.path_params["guid"])
        return _registration(guid, await self._find(guid))

    async def delete_registration(self, request: Request) -> None:
        """End a registration: the device waits until an owner registers it again."""
        guid = _name("voucher", request.path_params["guid"])
        await self._find(guid)
        await self._registrations.delete(guid)

    async def rules(self, request: Request) -> RulePage:
        """A page of rules."""
        paging = request.filters(Paging)
        found, following = await self._rules.page(paging.cursor, paging.limit)
        return RulePage([_rule(*one) for one in found], following, sorted(self._rules.trusted))

    async def put_rule(self, request: Request) -> RuleView:
        """Allow or deny; a denied device's registration ends at once."""
        kind, name = _rule_of(request)
        order = request.payload(RuleOrder)
        by, now = request.principal.name, moment(self._clock())
        rule = Rule(verdict=order.verdict, comment=order.comment, set_by=by, set_at=now)
        await self._rules.put(kind, name, rule)
        if kind == "voucher" and order.verdict == "deny":
            await self._registrations.delete(name)
        return _rule(kind, name, rule)

    async def delete_rule(self, request: Request) -> None:
        """Take a rule back; registrations that it has allowed stay until they end."""
        kind, name = _rule_of(request)
        if await self._rules.read(kind, name) is None:
            raise Problem(
                404,
                f"there is no rule about the {kind} {name}",
                remedy="list them: `ashore rendezvous rules`",
            )
        await self._rules.delete(kind, name)

    async def _find(self, guid: str) -> Blob:
        blob = await self._registrations.find(guid)
        if blob is None:
            raise Problem(
                404,
                f"no owner has registered the device {guid} here, or the registration has ended",
                remedy=f"let its owner register it: `ashore owner register {guid}`",
            )
        return blob


def _route(
    method: Method,
    path: str,
    handler: Handler,
    summary: str,
    response: type[Any] | None = None,
    *,
    request: type[Any] | None = None,
    query: type[Any] | None = None,
) -> Route:
    return Route(
        method,
        f"/api/v1{path}",
        handler,
        summary,
        "read" if method == "GET" else "write",
        request=request,
        response=response,
        query=query,
        status=204 if method == "DELETE" else 200,
        tags=[path.split("/")[1]],
    )


def _rule_of(request: Request) -> tuple[RuleKind, str]:
    kind = request.path_params["kind"]
    if kind not in _FORMS:
        raise Problem(404, f"there are no rules about '{kind}'", remedy=f"there are {', '.join(_FORMS)}")
    return kind, _name(kind, request.path_params["id"])


def _name(kind: RuleKind, text: str) -> str:
    """The name in the form in which it stands in a subject; raise Problem 422."""
    form, words = _FORMS[kind]
    name = text.lower().replace("-", "").replace(":", "")
    if not form.fullmatch(name):
        raise Problem(422, f"'{text[:80]}' is no name of a rule about {kind}s", remedy=f"give {words}")
    return name


def _registration(guid: str, blob: Blob) -> RegistrationView:
    return RegistrationView(
        guid=guid,
        owner_key=blob.owner,
        manufacturer_key=blob.keys[0],
        sales=len(blob.keys) - 1,
        addresses=blob.addresses,
        registered_at=moment(blob.registered_at),
        expires_at=moment(blob.expires_at),
    )


def _rule(kind: RuleKind, name: str, rule: Rule) -> RuleView:
    return RuleView(kind=kind, id=name, **msgspec.structs.asdict(rule))

"""Who has registered, and where it serves: checked, counted, and remembered in a file.

A handler that has nothing to do never notices that the agent was restarted, and so does not register again. That is why
registrations outlive the agent, which dials them itself.
"""

import asyncio
import stat
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
import structlog

from ashore.events import handler_token
from ashore_discovery.limits import Network
from ashore_discovery.listening.catalogue import Catalogue

FILE: Final = "akri-registrations.json"
MOST_FAMILIES: Final = 32
MOST_ENDPOINTS: Final = 8
FORGET_SECONDS: Final = 600.0
"""An endpoint that cannot be reached for so long is forgotten where another of its name can."""
_LONGEST_NAME: Final = 57
_LONGEST_ENDPOINT: Final = 512

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class EndpointError(Exception):
    """The endpoint, or its registration, is not taken; the text says why."""


class Door(NamedTuple):
    """Where a connection leads: a Unix socket, or an address."""

    path: str = ""
    host: str = ""
    port: int = 0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A registration, as the file has it."""

    name: str
    endpoint: str
    network: bool = False
    shared: bool = False


class Places(msgspec.Struct, frozen=True):
    """Which endpoints are allowed."""

    folder: Path
    network: Network

    def door(self, kept: Kept) -> Door:
        """Where the endpoint is now; raise EndpointError where it may not be used, or is not there."""
        self.check(kept)
        if kept.network:
            parts = urlsplit(kept.endpoint)
            return Door(host=parts.hostname or "", port=parts.port or 80)
        path = Path(kept.endpoint).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise EndpointError(f"{kept.endpoint} leads out of the folder {self.folder}")
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise EndpointError(f"{kept.endpoint}: {error.strerror}") from error
        if not stat.S_ISSOCK(mode):
            raise EndpointError(f"{kept.endpoint} is no socket")
        return Door(path=str(path))

    def check(self, kept: Kept) -> None:
        """Raise EndpointError where it may not be used, whatever is there."""
        if not 0 < len(kept.endpoint) <= _LONGEST_ENDPOINT or not kept.endpoint.isprintable():
            raise EndpointError("an endpoint is a text of at most 512 characters")
        if kept.network:
            self._check_url(kept.endpoint)
            return
        path = Path(kept.endpoint)
        if not path.is_absolute() or ".." in path.parts or not path.is_relative_to(self.folder):
            raise EndpointError(f"{kept.endpoint} is no socket below {self.folder}")

    def _check_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            valid = parts.scheme == "http" and parts.path in ("", "/") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise EndpointError(f"{url} is no address such as http://10.0.0.7:10000")
        if not self.network.allows_url(url):
            raise EndpointError(f"{url} is in none of the networks of ASHORE_NETWORKS, or is a name")


class Endpoint:
    """One place where a handler serves."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.failing_since: float | None = None
        self.failures = 0
        self.again = asyncio.Event()
        """Set when it has registered anew: dial at once."""

    @property
    def forgettable(self) -> tuple[int, float]:
        """The larger, the sooner it is forgotten."""
        return self.failures, -(self.failing_since or 0.0)


class Family:
    """All endpoints of one name, which one listener serves."""

    def __init__(self, name: str, token: str, *, shared: bool) -> None:
        self.name = name
        self.token = token
        self.shared = shared
        self.endpoints: dict[str, Endpoint] = {}
        self.running = False
        """Whether a listener is at work; otherwise a registration starts it."""
        self.news = asyncio.Event()
        """Set when there are other endpoints than before, and by the listener's calls."""


class Book:
    """All families; the file is written when a registration is new."""

    def __init__(self, folder: Path, places: Places, catalogue: Catalogue) -> None:
        self.places = places
        self.families: dict[str, Family] = {}
        self._file = folder / FILE
        self._catalogue = catalogue

    def restore(self) -> list[Family]:
        """Those of an earlier run that are allowed still."""
        try:
            kept = msgspec.json.decode(self._file.read_bytes(), type=list[Kept])
        except FileNotFoundError:
            kept = []
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("the registrations of the last run cannot be read", file=str(self._file), reason=str(error))
            kept = []
        for one in kept:
            try:
                self.enter(one)
            except EndpointError as error:
                log.warning("a registration of the last run is left out", handler=one.name, reason=str(error))
        return list(self.families.values())

    def enter(self, kept: Kept) -> tuple[Family, bool]:
        """Take a registration; whether it is new. Raise EndpointError."""
        self.places.check(kept)
        family = self._family(kept)
        known = family.endpoints.get(kept.endpoint)
        if family.shared != kept.shared and len(family.endpoints) > (known is not None):
            raise EndpointError(f"other endpoints of '{kept.name}' say that shared is {str(family.shared).lower()}")
        if known is None and len(family.endpoints) >= MOST_ENDPOINTS:
            worst = max(family.endpoints.values(), key=lambda one: one.forgettable)
            if not worst.failures:
                raise EndpointError(f"'{kept.name}' has {MOST_ENDPOINTS} endpoints already, and all of them answer")
            del family.endpoints[worst.kept.endpoint]
        fresh = known is None or known.kept != kept
        self.families[family.token] = family
        family.shared = kept.shared
        if known is None:
            family.endpoints[kept.endpoint] = Endpoint(kept)
            family.news.set()
        else:
            known.kept = kept
            known.again.set()
        return family, fresh

    def forget(self, family: Family, endpoint: Endpoint) -> None:
        """It is not dialled any more."""
        if family.endpoints.pop(endpoint.kept.endpoint, None) is not None:
            log.info("endpoint forgotten", handler=family.name, endpoint=endpoint.kept.endpoint)
            family.news.set()
            self.write()

    def write(self) -> None:
        """Remember all of them: a few lines, and seldom, so it is done at once."""
        kept = [endpoint.kept for family in self.families.values() for endpoint in family.endpoints.values()]
        draft = self._file.with_suffix(".new")
        try:
            draft.touch(mode=0o600)
            draft.write_bytes(msgspec.json.encode(kept))
            draft.replace(self._file)
        except OSError as error:
            log.warning("the registrations cannot be written", file=str(self._file), reason=str(error))

    def _family(self, kept: Kept) -> Family:
        token = handler_token(kept.name)
        if not 0 < len(token) <= _LONGEST_NAME:
            raise EndpointError("a name has 1 to 57 letters and digits")
        if self._catalogue.installed(token):
            # Akri's own udev beside ours: configurations choose by the name.
            token = f"akri-{token}"
        family = self.families.get(token)
        if family is None:
            if len(self.families) >= MOST_FAMILIES:
                raise EndpointError(f"there are {MOST_FAMILIES} of Akri's handlers already")
            return Family(kept.name, token, shared=kept.shared)
        if family.name != kept.name:
            raise EndpointError(f"'{family.name}' has registered, and '{kept.name}' is the same to configurations")
        return family

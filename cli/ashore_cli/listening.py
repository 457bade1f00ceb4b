"""`ashore events` at work."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Final, NamedTuple

import msgspec
from rich.text import Text

from ashore.bus.nats import NatsBus
from ashore.events import EVENTS, Envelope, EventError, encode, open_event, stream_of
from ashore_cli.documents import to_yaml
from ashore_cli.errors import USAGE, CommandError, printable
from ashore_cli.joining import checked, joined
from ashore_cli.options import Options
from ashore_cli.output import console, form, say, short
from ashore_cli.telling import Telling, tell

_NAMES: Final = sorted(event.name for event in EVENTS)
_GUID: Final = re.compile(r"[0-9a-f]{32}")
_AGO: Final = re.compile(r"(\d+)([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_QUIET_SECONDS: Final = 1.0
"""After so long without one, all stored events have been read."""

Events = AsyncGenerator[tuple[int, Envelope], None]


class Wanted(NamedTuple):
    """Which events."""

    names: list[str]
    device: str
    since: str | None
    follow: bool

    def subjects(self) -> list[str]:
        """The filters that the bus applies; raise CommandError for a name that no event has."""
        for name in self.names:
            if "." not in name and name not in _NAMES:
                known = ", ".join(get_close_matches(name, _NAMES) or _NAMES)
                raise CommandError(f"there is no event '{name}'", remedy=f"name one of {known}", code=USAGE)
        subjects = [name if "." in name else f"{name}.>" for name in self.names] or [">"]
        try:
            stream_of(subjects)
        except EventError as error:
            raise CommandError(
                f"{', '.join(self.names)} are not kept in one stream", remedy="ask for them one by one", code=USAGE
            ) from error
        return subjects

    def begin(self, now: datetime) -> datetime | None:
        """From when; None is from now on."""
        if self.since is not None:
            return moment(self.since, now)
        return None if self.follow else now - timedelta(hours=1)

    def fits(self, envelope: Envelope) -> bool:
        """Whether it is about the wanted device."""
        guid = envelope.subject.partition(".")[2]
        return guid.startswith(self.device.lower().replace("-", ""))


async def listen(wanted: Wanted, options: Options) -> None:
    """Print events until there are no more, or for ever."""
    subjects, begin = wanted.subjects(), wanted.begin(datetime.now(UTC))
    context, printer = options.context(), _Printer(options)
    async with joined(context, talkative=wanted.follow) as bus:
        await checked(bus, context)
        async with aclosing(_events(bus, subjects, begin, follow=wanted.follow)) as found:
            async for _, envelope in found:
                if wanted.fits(envelope):
                    printer.show(envelope)
    if not printer.count:
        say("No such event. Look further back with --since 7d, or wait for it with --follow.")
        if wanted.device:
            say("A device is found by how its GUID begins, which `ashore owner list` shows, not by its serial number.")


async def _events(bus: NatsBus, subjects: list[str], since: datetime | None, *, follow: bool) -> Events:
    async with aclosing(bus.follow(subjects, since=since)) as found:
        with suppress(TimeoutError, StopAsyncIteration):
            while True:
                async with asyncio.timeout(None if follow else _QUIET_SECONDS):
                    one = await anext(found)
                yield one


def moment(text: str, now: datetime) -> datetime:
    """A time ago, or a date; raise CommandError."""
    if match := _AGO.fullmatch(text.strip().lower()):
        return now - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"'{text}' is no time", remedy="write 90s, 15m, 1h, 2d, or 2026-05-31T12:00", code=USAGE
        ) from error
    return found if found.tzinfo else found.astimezone()


def about(tokens: str) -> str:
    """Whom an event is about, by the rest of its subject: a whole name, or how a GUID begins, which commands take."""
    last = tokens.rpartition(".")[2]
    return short(last) if _GUID.fullmatch(last) else last


class _Printer:
    def __init__(self, options: Options) -> None:
        self.count = 0
        self._form = form(options)
        self._out = console()
        self._today = datetime.now(UTC).astimezone().date()

    def show(self, envelope: Envelope) -> None:
        self.count += 1
        match self._form:
            case "json":
                print(encode(envelope).decode(), flush=True)
            case "yaml":
                print("---\n" + to_yaml(msgspec.json.decode(encode(envelope))), end="", flush=True)
            case _:
                self._line(envelope)

    def _line(self, envelope: Envelope) -> None:
        name, _, rest = envelope.subject.partition(".")
        try:
            telling = tell(open_event(envelope))
        except EventError as error:
            telling = Telling("", str(error), "dim")
        moment = envelope.time.astimezone()
        day = "" if moment.date() == self._today else f"{moment:%Y-%m-%d} "
        time = f"{day}{moment:%H:%M:%S.%f}"[:-3]
        self._out.print(
            Text.assemble(
                (f"{time}  ", "dim"),
                (f"{name:<19}", telling.style),
                f"{about(rest)}  {printable(telling.text)}",
            )
        )

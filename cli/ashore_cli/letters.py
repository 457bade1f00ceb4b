"""`ashore streams letters` at work."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from ashore.bus import Letter, LetterGone, RetryFailed
from ashore.bus.nats import NatsBus
from ashore_cli.errors import DONE, REFUSED, USAGE, CommandError
from ashore_cli.joining import checked, joined
from ashore_cli.options import Connection, Options
from ashore_cli.output import Column, age, form, say, short, show_data, show_list, show_one

_LIST: Final = "see what there is: ashore streams letters list"


class Wanted(NamedTuple):
    """Which letters."""

    subscriber: str = ""
    event: str = ""
    numbers: tuple[int, ...] = ()

    def fits(self, letter: "Letter") -> bool:
        """Whether this is one of them."""
        about = letter.letter
        return (
            self.subscriber in ("", about.durable)
            and self.event in ("", about.event)
            and (not self.numbers or letter.number in self.numbers)
        )


class Row(msgspec.Struct, kw_only=True):
    """A dead letter in a list."""

    number: int
    event: str
    subject: str
    subscriber: str
    attempts: int
    parked_at: datetime
    reason: str


class Result(msgspec.Struct, kw_only=True):
    """What came of one retry."""

    number: int
    subject: str
    subscriber: str
    handled: bool
    reason: str = ""


async def show_letters(wanted: Wanted, options: Options) -> None:
    """List letters."""
    async with _bus(options) as bus:
        rows = [_row(one) async for one in bus.letters() if wanted.fits(one)]
    columns: list[Column[Row]] = [
        Column("number", lambda one: one.number),
        Column("event", lambda one: one.event),
        Column("device", lambda one: short(one.subject.partition(".")[2])),
        Column("subscriber", lambda one: one.subscriber),
        Column("attempts", lambda one: one.attempts),
        Column("age", lambda one: age(one.parked_at)),
        Column("reason", lambda one: one.reason, wraps=True),
    ]
    show_list(rows, columns, options, empty="There are no dead letters.")


async def show_letter(number: int, options: Options) -> None:
    """One letter with its event."""
    async with _bus(options) as bus:
        found = await _find(bus, number)
    letter = found.letter
    if form(options) != "table":
        # The event travels as it is; as YAML it must be taken apart first.
        show_data(msgspec.json.decode(msgspec.json.encode(found)), options)
        return
    data = msgspec.json.format(bytes(letter.envelope.data), indent=2).decode() if letter.envelope else letter.body
    lines: list[tuple[str, object]] = [
        ("number", found.number),
        ("event", letter.event),
        ("subject", letter.envelope.subject if letter.envelope else ""),
        ("subscriber", letter.durable),
        ("attempts", letter.attempts),
        ("parked", found.parked_at),
        ("reason", letter.reason),
        ("happened", letter.envelope.time if letter.envelope else ""),
        ("event id", letter.envelope.id if letter.envelope else ""),
        ("stands in", f"{letter.stream}, at {letter.sequence}"),
        ("data" if letter.envelope else "body (base64)", data),
    ]
    show_one(found, lines, options)


async def retry_letters(wanted: Wanted, options: Options, *, everything: bool) -> int:
    """Try letters again; the answer is the exit code, 1 where one failed again."""
    if bool(wanted.numbers) == everything:
        raise CommandError("it is not clear which letters", remedy="give their numbers, or --all", code=USAGE)
    async with _bus(options) as bus:
        letters = [one async for one in bus.letters() if wanted.fits(one)]
        _check_numbers(wanted.numbers, letters)
        results = [await _retry(bus, one) for one in letters]
    columns: list[Column[Result]] = [
        Column("number", lambda one: one.number),
        Column("event", lambda one: one.subject.partition(".")[0]),
        Column("device", lambda one: short(one.subject.partition(".")[2])),
        Column("subscriber", lambda one: one.subscriber),
        Column("result", lambda one: "ok" if one.handled else "failed"),
        Column("reason", lambda one: one.reason, wraps=True),
    ]
    show_list(results, columns, options, empty="There is no such dead letter.")
    return DONE if all(one.handled for one in results) else REFUSED


async def drop_letters(numbers: Sequence[int], options: Connection) -> None:
    """Delete letters, once all of them are known to be there."""
    async with _bus(options) as bus:
        for number in numbers:
            await _find(bus, number)
        for number in numbers:
            await bus.drop(number)
    say(f"Dropped: {', '.join(map(str, numbers))}")


@asynccontextmanager
async def _bus(options: Connection) -> AsyncIterator[NatsBus]:
    context = options.context()
    async with joined(context) as bus:
        await checked(bus, context)
        yield bus


async def _retry(bus: NatsBus, letter: Letter) -> Result:
    result = Result(number=letter.number, subject=_subject(letter), subscriber=letter.letter.durable, handled=True)
    try:
        await bus.retry(letter)
    except (RetryFailed, LetterGone) as error:
        result.handled, result.reason = False, str(error)
    return result


async def _find(bus: NatsBus, number: int) -> Letter:
    async for found in bus.letters(number):
        if found.number == number:
            return found
        break
    raise CommandError(f"there is no dead letter {number}", remedy=_LIST)


def _check_numbers(numbers: Sequence[int], found: Sequence[Letter]) -> None:
    missing = sorted(set(numbers) - {one.number for one in found})
    if missing:
        raise CommandError(f"there is no dead letter {', '.join(map(str, missing))}", remedy=_LIST)


def _row(letter: Letter) -> Row:
    return Row(
        number=letter.number,
        event=letter.letter.event,
        subject=_subject(letter),
        subscriber=letter.letter.durable,
        attempts=letter.letter.attempts,
        parked_at=letter.parked_at,
        reason=letter.letter.reason,
    )


def _subject(letter: Letter) -> str:
    return letter.letter.envelope.subject if letter.letter.envelope else letter.letter.event

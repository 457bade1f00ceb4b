"""`ashore device init` and `onboard` at work: one device told in lines, many with a bar."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ashore.client import Client, ClientError, Unreachable
from ashore.keys import KeyKind
from ashore_cli.errors import DONE, REFUSED, CommandError, printable
from ashore_cli.local.devices import Virtual, known, next_serials, request
from ashore_cli.options import Options
from ashore_cli.output import Column, console, form, short, show_list
from ashore_device.fleet import Member
from ashore_device.progress import Progress as Step

_MOST: Final = 10_000
_FEW: Final = 20
_PATIENCE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1


class Batch(msgspec.Struct, frozen=True):
    """Which devices, and what new ones shall be."""

    serials: list[str]
    count: int | None
    prefix: str
    kind: KeyKind
    encoding: str
    model: str

    def chosen(self, folder: Path, *, onboard: bool) -> list[str]:
        """The serial numbers that are meant."""
        if self.serials and self.count is not None:
            raise CommandError("both serial numbers and --count are given", remedy="give one of them", code=2)
        if self.serials:
            return self.serials
        if self.count is not None:
            if not 0 < self.count <= _MOST:
                raise CommandError(f"--count is {self.count}", remedy=f"give 1 to {_MOST}", code=2)
            return next_serials(folder, self.prefix, self.count)
        waiting = [one.serial for one in known(folder) if one.state in ("initialised", "finishing")] if onboard else []
        return waiting or next_serials(folder, self.prefix, 1)


class _Bar:
    """Progress on the terminal: what the one device does, or how many are done."""

    def __init__(self, total: int, *, onboard: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        screen = console(stderr=True)
        self.progress = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
        self._only = total == 1
        self._last = "onboarded" if onboard else "initialised"
        self._task: TaskID = self.progress.add_task("initialising", total=total)

    def describe(self, text: str) -> None:
        """Say what is done now."""
        self.progress.update(self._task, description=text)

    def report(self, step: Step) -> None:
        """One thing that a device tells."""
        if step.kind == "done" and step.text.startswith(self._last):
            self.progress.advance(self._task)
        if self._only and step.kind != "message":
            self.progress.console.print(f"{step.serial}  {printable(step.text)}", style="dim")


async def _registered(options: Options, guids: list[str]) -> None:
    """Give the owner a moment to register new devices, which real ones find out by coming again."""
    with suppress(TimeoutError, ClientError):
        async with asyncio.timeout(_PATIENCE_SECONDS), options.client() as client:
            for guid in guids:
                while not await _is_registered(client, guid):  # noqa: ASYNC110 - the owner is another process
                    await asyncio.sleep(_POLL_SECONDS)


async def _is_registered(client: Client, guid: str) -> bool:
    try:
        return (await client.owner.device(guid)).registered_until is not None
    except Unreachable:
        raise
    except ClientError:
        # The owner has not heard of it yet, or somebody else has bought it.
        return False


async def run(batch: Batch, options: Options, *, onboard: bool) -> int:
    """Make, initialise and onboard; the answer is the exit code."""
    context = options.context()
    serials = batch.chosen(context.data_dir / "devices", onboard=onboard)
    wanted = request("", batch.kind, batch.encoding, batch.model)
    url = context.services["manufacturer"].url
    bar, started = _Bar(len(serials), onboard=onboard), time.monotonic()
    async with Virtual.folder(context, report=bar.report) as virtual:
        with bar.progress:
            summary = await virtual.fleet.run(serials, url, wanted, onboard=False)
            members = summary.members
            if onboard:
                bar.describe("onboarding")
                await _registered(options, [member.guid for member in members if member.state == "initialised"])
                ready = [member.serial for member in members if member.state != "failed"]
                summary = await virtual.fleet.run(ready, url, wanted, onboard=True)
                members = [*(member for member in members if member.state == "failed"), *summary.members]
    return _show(members, time.monotonic() - started, options, onboard=onboard)


def _show(members: list[Member], seconds: float, options: Options, *, onboard: bool) -> int:
    columns: list[Column[Member]] = [
        Column("serial", lambda one: one.serial),
        Column("guid", lambda one: short(one.guid)),
        Column("state", lambda one: one.state),
        Column("seconds", lambda one: f"{one.seconds:.2f}"),
        Column("error", lambda one: one.error, wraps=True),
    ]
    failed = [member for member in members if member.state == "failed"]
    is_table = form(options) == "table"
    # A thousand devices that are well need no thousand lines.
    show_list(members if len(members) <= _FEW or not is_table else failed, columns, options, empty="")
    if is_table:
        done = f"{len(members) - len(failed)} of {len(members)} {'onboarded' if onboard else 'initialised'}"
        console().print(f"{done} in {seconds:.1f} s")
    return REFUSED if failed else DONE

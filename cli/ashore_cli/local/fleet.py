"""`ashore device init` and `onboard` at work: one device told in lines, many with a bar."""

from pathlib import Path
from typing import Final

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ashore.keys import KeyKind
from ashore_cli.errors import DONE, REFUSED, CommandError, printable
from ashore_cli.local.devices import Virtual, known, next_serials, request
from ashore_cli.options import Options
from ashore_cli.output import Column, console, form, short, show_list
from ashore_device.fleet import Member
from ashore_device.progress import Progress as Step

_MOST: Final = 10_000
_FEW: Final = 20


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
        self.progress = Progress(*columns, console=console(stderr=True), transient=True)
        self._only = total == 1
        self._last = "onboarded" if onboard else "initialised"
        self._task: TaskID = self.progress.add_task("devices", total=total)

    def report(self, step: Step) -> None:
        """One thing that a device tells."""
        if step.kind == "done" and step.text.startswith(self._last):
            self.progress.advance(self._task)
        if self._only or step.kind == "failed":
            self.progress.console.print(f"{step.serial}  {printable(step.text)}", style="dim")


async def run(batch: Batch, options: Options, *, onboard: bool) -> int:
    """Make, initialise and onboard; the answer is the exit code."""
    context = options.context()
    serials = batch.chosen(context.data_dir / "devices", onboard=onboard)
    bar = _Bar(len(serials), onboard=onboard)
    async with Virtual.folder(context, report=bar.report) as virtual:
        with bar.progress:
            wanted = request("", batch.kind, batch.encoding, batch.model)
            summary = await virtual.fleet.run(serials, context.services["manufacturer"].url, wanted, onboard=onboard)
    columns: list[Column[Member]] = [
        Column("serial", lambda one: one.serial),
        Column("guid", lambda one: short(one.guid)),
        Column("state", lambda one: one.state),
        Column("seconds", lambda one: f"{one.seconds:.2f}"),
        Column("error", lambda one: one.error),
    ]
    failed = summary.count("failed")
    # A thousand devices that are well need no thousand lines.
    everything = len(serials) <= _FEW or form(options) != "table"
    shown = [member for member in summary.members if everything or member.state == "failed"]
    show_list(shown, columns, options, empty="")
    if form(options) == "table":
        done = len(serials) - failed
        console().print(
            f"{done} of {len(serials)} {'onboarded' if onboard else 'initialised'} in {summary.seconds:.1f} s"
        )
    return REFUSED if failed else DONE

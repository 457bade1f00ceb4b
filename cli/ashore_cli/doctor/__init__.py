"""Asks everything how it is: services, bus, launcher, agents, clocks, certificates, the data folder.

Each examination gives Findings and never fails itself: what keeps it from looking is a finding, too.
"""

from collections.abc import AsyncIterator

from rich.text import Text

from ashore.client import Client
from ashore_cli.doctor import agents, bus, folder, launcher, services
from ashore_cli.doctor.finding import Finding
from ashore_cli.errors import DONE, REFUSED, UNREACHABLE, printable
from ashore_cli.options import Options
from ashore_cli.output import console, form, show_data

__all__ = ["Finding", "examine"]


async def examine(options: Options) -> int:
    """Show all findings; the answer is the exit code."""
    found: list[Finding] = []
    out, is_table = console(), form(options) == "table"
    async for finding in findings(options):
        found.append(finding)
        if is_table:
            out.print(_line(finding))
    if not is_table:
        show_data(found, options)
    elif all(one.ok for one in found):
        out.print("\nAll is well.")
    if any(one.unreachable for one in found):
        return UNREACHABLE
    return DONE if all(one.ok for one in found) else REFUSED


async def findings(options: Options) -> AsyncIterator[Finding]:
    """Everything, in the order in which one would mend it."""
    context = options.context()
    for finding in folder.examine(context):
        yield finding
    async for finding in bus.examine(context):
        yield finding
    async with Client(context) as client:
        async for finding in services.examine(client):
            yield finding
        async for finding in launcher.examine(client):
            yield finding
    async for finding in agents.examine(context):
        yield finding


def _line(finding: Finding) -> Text:
    word, style = ("ok", "green") if finding.ok else ("BAD", "bold red")
    line = Text.assemble((f"{word:<4} ", style), f"{finding.about:<15} ", printable(finding.text))
    if finding.remedy:
        line.append(f"\n     {'':<15} to do: {printable(finding.remedy)}", style="bold")
    return line

"""`ashore instance watch` and `ashore workload logs` at work."""

import asyncio
from contextlib import aclosing
from typing import Final

import msgspec
from rich.text import Text

from ashore.client.errors import ClientError
from ashore.events import (
    Envelope,
    EventError,
    InstanceAdded,
    InstanceChanged,
    InstanceRemoved,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadLaunched,
    WorkloadStopped,
    open_event,
)
from ashore_cli.errors import printable
from ashore_cli.joining import checked, joined
from ashore_cli.options import Connection, Options
from ashore_cli.output import console, form
from ashore_cli.telling import tell

WATCHED: Final = (
    InstanceAdded,
    InstanceChanged,
    InstanceRemoved,
    WorkloadLaunched,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadStopped,
)
_POLL_SECONDS: Final = 1.0
_GONE: Final = 404
_MOST_LINES: Final = 1000

Told = InstanceAdded | InstanceRemoved | WorkloadLaunched


async def show_changes(namespace: str, configuration: str, options: Options) -> None:
    """Instances and workloads as they come and go."""
    context = options.context()
    async with joined(context) as bus:
        await checked(bus, context)
        async with aclosing(bus.follow([f"{kind.name}.>" for kind in WATCHED])) as events:
            async for _, one in events:
                event = _opened(one)
                if event is not None and _is_wanted(event, namespace, configuration):
                    _show(one, event, options)


async def show_log(where: tuple[str, str], lines: int, options: Connection, *, follow: bool) -> None:
    """The last lines of a workload, and what comes after them."""
    async with options.client() as client:
        log = (await client.launcher.log(*where, lines=_MOST_LINES if follow else lines)).log
        _print("".join(log.splitlines(keepends=True)[-lines:]))
        while follow:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                now = (await client.launcher.log(*where, lines=_MOST_LINES)).log
            except ClientError as error:
                if error.status == _GONE:
                    return
                raise
            _print(added(log, now))
            log = now


def added(before: str, now: str) -> str:
    """What has been written since. Of both only the last lines are known, and the first of those may be cut off."""
    old, new = before.splitlines(keepends=True), now.splitlines(keepends=True)
    whole = range(len(old), len(new) + 1)
    partial = range(min(len(old), len(new) + 1) - 1, 0, -1)
    end = next((end for end in (*whole, *partial) if _ends_alike(old, new[:end])), 0)
    return "".join(new[end:])


def _ends_alike(old: list[str], new: list[str]) -> bool:
    """Whether the shorter one is the end of the longer one."""
    count = min(len(old), len(new))
    cut = 1 if count > 1 else 0
    return count > 0 and old[len(old) - count + cut :] == new[len(new) - count + cut :]


def _opened(one: Envelope) -> Told | None:
    try:
        event = open_event(one)
    except EventError:
        # A newer launcher may tell what we do not know.
        return None
    return event if isinstance(event, InstanceAdded | InstanceRemoved | WorkloadLaunched) else None


def _is_wanted(event: Told, namespace: str, configuration: str) -> bool:
    return namespace in ("", event.namespace) and configuration in ("", event.configuration)


def _show(one: Envelope, event: Told, options: Options) -> None:
    if form(options) != "table":
        print(msgspec.json.encode(event).decode(), flush=True)
        return
    telling, time = tell(event), one.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    words = printable(f"{event.namespace}/{event.instance}  {telling.text}")
    console().print(Text.assemble((f"{time}  ", "dim"), (f"{telling.word:<12}", telling.style), words))


def _print(log: str) -> None:
    """A log is of strangers, and must not reach the terminal as it is."""
    if log:
        print(printable(log), end="" if log.endswith("\n") else "\n", flush=True)

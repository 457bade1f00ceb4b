"""What the broker launcher has made of the devices that were found, in a few lines at the end of the demo."""

import asyncio
from contextlib import suppress
from typing import Final, NamedTuple

from rich.text import Text

from ashore.client import Client, ClientError, Context
from ashore.client.launcher_model import InstanceDetail, LauncherState, Manifest
from ashore_cli.errors import printable
from ashore_cli.local.screen import Screen

_SECONDS: Final = 3.0
"""A device is found within a second of the agent's start, and its instance is made at once."""
_POLL_SECONDS: Final = 0.1
_SHOWN: Final = 2
_DRY_RUN: Final = "dry-run"


class Launched(NamedTuple):
    """The first instances, and what would be, or is, applied for them."""

    state: LauncherState
    instances: list[InstanceDetail]
    pods: list[Manifest]


def launching(context: Context) -> "asyncio.Task[Launched | None]":
    """Begin to wait for the first instance, beside everything else."""
    return asyncio.create_task(_look(context), name="launched")


async def show_launched(asked: "asyncio.Task[Launched | None]", screen: Screen) -> None:
    """Show the instances and their pods; nothing where no launcher has any soon."""
    found = None
    with suppress(TimeoutError, ClientError):
        async with asyncio.timeout(_SECONDS):
            found = await asked
    if found is None:
        return
    dry = found.state.launcher == _DRY_RUN
    title = "What a cluster would get for that (there is none: a dry run)" if dry else "What the cluster gets for that"
    screen.out.print(f"\n{title}\n", style="bold")
    for instance in found.instances:
        _line(screen, "instance", f"{instance.name} on {', '.join(instance.nodes)}, for {_words(instance)}")
        for pod in found.pods:
            if (pod["metadata"].get("labels") or {}).get("akri.sh/instance") == instance.name:
                _line(screen, "pod", f"{pod['metadata']['name']}: {_broker(pod)}")
        if not dry:
            for broker in instance.brokers:
                _line(screen, broker.kind.lower(), f"{broker.name}: {broker.phase.lower()}")


async def _look(context: Context) -> Launched | None:
    async with Client(context) as client:
        while True:
            state = await client.launcher.state()
            if not state.configurations and state.launcher != _DRY_RUN:
                return None
            page = await client.launcher.instances(limit=_SHOWN)
            pods = (await client.launcher.objects(kind="Pod")).items if state.launcher == _DRY_RUN else []
            if page.items and (pods or state.launcher != _DRY_RUN):
                shown = [await client.launcher.instance(one.namespace, one.name) for one in page.items]
                return Launched(state, shown, pods)
            await asyncio.sleep(_POLL_SECONDS)


def _line(screen: Screen, word: str, text: str) -> None:
    screen.out.print(Text.assemble("  ", (f"{word:<13} ", "green"), printable(text)))


def _words(instance: InstanceDetail) -> str:
    """What the broker is told of the device, else the device's key."""
    return next(iter(instance.properties.values()), instance.device)


def _broker(pod: Manifest) -> str:
    """Images, and the devices that they ask for."""
    containers = pod["spec"].get("containers") or []
    images = ", ".join(str(one.get("image")) for one in containers)
    limits = [one.get("resources", {}).get("limits") or {} for one in containers]
    devices = [f"{name}={amount}" for given in limits for name, amount in given.items() if name.startswith("akri.sh/")]
    return f"{images}{f' with {devices[0]}' if devices else ''}"

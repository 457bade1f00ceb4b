"""What the discovery agent has seen, in a few lines at the end of the demo."""

import asyncio
from contextlib import suppress
from typing import Final

from ashore.bus import BusError
from ashore.client import ClientError, Context
from ashore.client.discovery import DiscoveredDevice, DiscoveryClient
from ashore.events import AgentAlive
from ashore_cli.errors import printable
from ashore_cli.joining import joined
from ashore_cli.local.screen import Screen

_SECONDS: Final = 1.0
"""The demo is no place to wait: who wants to see everything asks the agent."""
_SHOWN: Final = 6

Found = tuple[AgentAlive, list[DiscoveredDevice]]


def looking(context: Context) -> "asyncio.Task[Found | None]":
    """Begin to ask the first agent that is heard, beside everything else."""
    return asyncio.create_task(_look(context), name="discovered")


async def show_discovered(asked: "asyncio.Task[Found | None]", screen: Screen) -> None:
    """Show what configurations want of what is there; nothing where no agent answers at once."""
    found = None
    with suppress(TimeoutError, BusError, ClientError):
        async with asyncio.timeout(_SECONDS):
            found = await asked
    if found is None:
        return
    agent, devices = found
    wanted = sorted((device for device in devices if device.matches), key=lambda one: one.appeared_at)
    screen.out.print(f"\nWhat the discovery agent of {agent.node} sees\n", style="bold")
    for device in wanted[:_SHOWN]:
        screen.out.print(f"  {_wanted_by(device):<13} {printable(_words(device))}")
    others = len(devices) - len(wanted[:_SHOWN])
    if others:
        screen.out.print(f"  and {others} more devices, most of them wanted by no configuration", style="dim")


async def _look(context: Context) -> Found | None:
    async with joined(context) as bus:
        client = DiscoveryClient(bus)
        while True:
            agent = await client.soonest(_SECONDS)
            if agent is None:
                return None
            with suppress(ClientError):
                return agent, await client.devices(agent)
            # It has said that it is alive, and is not served yet.
            await asyncio.sleep(_SECONDS / 10)


def _wanted_by(device: DiscoveredDevice) -> str:
    """One configuration, the node's own first: those of the launcher have their namespace before a dot."""
    return min((match.configuration for match in device.matches), key=lambda name: ("." in name, name))


def _words(device: DiscoveredDevice) -> str:
    facts = device.facts
    return str(
        next((facts[name] for name in ("description", "name", "model", "kernel") if facts.get(name)), device.key)
    )

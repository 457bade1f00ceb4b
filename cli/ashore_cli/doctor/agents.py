"""The discovery agents that the bus has heard of: do they answer, does each listener work, can all be used."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

from ashore.bus import BusError
from ashore.client import ClientError, Context
from ashore.client.discovery import AgentHealth, DiscoveryClient
from ashore_cli.doctor.finding import Finding, bad, well
from ashore_cli.joining import checked, joined

_ABOUT: Final = "discovery"
_START: Final = "start it: `ashore up` has one, or `python -m ashore_discovery` on its node"


async def examine(context: Context) -> AsyncIterator[Finding]:
    """Every agent in turn. None is no fault: who onboards devices need not discover any."""
    try:
        async with joined(context) as bus:
            await checked(bus, context)
            client = DiscoveryClient(bus)
            agents = await client.agents()
            if not agents:
                yield well(_ABOUT, "no agent has been heard of")
            for agent in agents:
                try:
                    health = await client.health(agent)
                except ClientError as error:
                    retire = f"if it is away for good: `ashore discovery forget {agent.node} --site {agent.site}`"
                    yield bad(_ABOUT, error.detail, f"{_START}; {retire}", unreachable=True)
                    continue
                for finding in _agent(health):
                    yield finding
    except BusError:
        # It was told above.
        return


def _agent(health: AgentHealth) -> Iterator[Finding]:
    failed = [one for one in health.sources if one.mode == "failed"]
    for one in failed:
        yield bad(_ABOUT, f"{health.node}: {one.source} has failed: {one.reason}", "see the agent's log")
    for name, sentences in health.problems.items():
        yield bad(_ABOUT, f"{health.node}: {name}: {'; '.join(sentences)}", "mend the configuration")
    if not failed and not health.problems:
        listeners = ", ".join(f"{one.source} {one.mode}" for one in health.sources) or "no listeners"
        yield well(_ABOUT, f"the agent of {health.node} sees {health.devices} devices ({listeners})")

"""The broker launcher: which one it is, whether its cluster can be used, and whether agents know what it looks for."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from ashore.bus import BusError
from ashore.client import Client, ClientError, Context, Unreachable, shown
from ashore.client.context import DEFAULT_URLS, LAUNCHER
from ashore.client.discovery import AgentHealth, DiscoveryClient
from ashore.client.launcher_model import ConfigurationDetail, LauncherState
from ashore.events import AgentAlive
from ashore_cli.doctor.finding import Finding, bad, well
from ashore_cli.joining import joined
from ashore_cli.output import counted

_LOOKED_AT: Final = 50
"""So many configurations are looked at one by one."""
_DRY_RUN: Final = "dry-run"
_NOT_KNOWN: Final = "does not know"


def is_none_meant(context: Context, error: ClientError) -> bool:
    """Whether there simply is no launcher: nobody has said where one is, and at the usual place there is none."""
    place = context.services[LAUNCHER]
    return isinstance(error, Unreachable) and place.url == DEFAULT_URLS[LAUNCHER] and place.token is None


def none(context: Context) -> Finding:
    """That there is none is no fault: who onboards devices need not start anything for others."""
    return well(LAUNCHER, f"none at {shown(context.services[LAUNCHER].url)}: nothing is started for devices")


async def examine(client: Client) -> AsyncIterator[Finding]:
    """The launcher, its configurations, and who knows them."""
    try:
        state = await client.launcher.state()
        names = (await client.launcher.configurations(limit=_LOOKED_AT)).items
        found = [await client.launcher.configuration(one.namespace, one.name) for one in names]
    except ClientError:
        # It was told above.
        return
    yield state_finding(state)
    for one in found:
        for problem in one.problems:
            remedy = f"mend it: `ashore configuration show {one.namespace}/{one.name}`"
            yield bad("configuration", f"{one.namespace}/{one.name}: {problem}", remedy)
    async for finding in _agents(client.context, state, [one for one in found if not one.problems]):
        yield finding


def state_finding(state: LauncherState) -> Finding:
    """Which launcher it is, and whether it can do its work."""
    if state.cluster and state.launcher != _DRY_RUN:
        remedy = "check its kubeconfig, and whether the API server runs"
        if _NOT_KNOWN in state.cluster:
            remedy = "install the definitions, as docs/how-to/start-brokers-for-devices.md says"
        return bad(LAUNCHER, f"its cluster cannot be used: {state.cluster}", remedy)
    what = "a dry run, which only shows what it would apply" if state.launcher == _DRY_RUN else "its cluster answers"
    leads = "" if state.leads else ", another replica leads"
    count = ", ".join(
        (
            counted(state.configurations, "configuration"),
            counted(state.instances, "instance"),
            f"{counted(state.queue, 'thing')} to look at",
        )
    )
    return well(LAUNCHER, f"{what}; {count}{leads}")


async def _agents(
    context: Context, state: LauncherState, configurations: Sequence[ConfigurationDetail]
) -> AsyncIterator[Finding]:
    """Agents that should look for something and do not."""
    try:
        async with joined(context) as bus:
            client = DiscoveryClient(bus)
            for agent in await client.agents():
                try:
                    health = await client.health(agent)
                except ClientError:
                    # That it does not answer is told where agents are examined.
                    continue
                for finding in agent_findings(agent, health, state, configurations):
                    yield finding
    except BusError:
        # It was told above.
        return


def agent_findings(
    agent: AgentAlive, health: AgentHealth, state: LauncherState, configurations: Sequence[ConfigurationDetail]
) -> Iterator[Finding]:
    """An agent that no configuration reaches, or that lacks some that are meant for it."""
    if agent.site != state.site:
        text = f"the agent of {agent.node} is of the site {agent.site}, and no configuration reaches it"
        yield bad(LAUNCHER, text, f"give both one ASHORE_SITE: the launcher's is {state.site}")
        return
    meant = [one for one in configurations if agent.node in (_nodes(one) or [agent.node])]
    missing = sorted({f"{one.namespace}.{one.name}" for one in meant} - set(health.configurations))
    if missing:
        text = f"the agent of {agent.node} does not know {', '.join(missing)}"
        yield bad(LAUNCHER, text, "wait a moment; then see the launcher's log and `ashore discovery health`")


def _nodes(one: ConfigurationDetail) -> list[str]:
    spec = one.manifest.get("spec") or {}
    return [str(node) for node in spec.get("nodes") or []]

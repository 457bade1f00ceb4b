"""`ashore discovery` at work: the agents are asked over the bus, all at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.text import Text

from ashore.client.discovery import (
    AgentHealth,
    DiscoveredDevice,
    DiscoveryClient,
    Explanation,
    ListenerHealth,
    configured,
    ruled,
)
from ashore.client.errors import ClientError
from ashore.events import AgentAlive, DeviceSeen
from ashore_cli.documents import read_documents
from ashore_cli.errors import CommandError, printable
from ashore_cli.joining import checked, joined
from ashore_cli.options import Connection, Options
from ashore_cli.output import Column, age, console, form, say, show_data, show_list

T = TypeVar("T")

_START = "start one: `ashore up` has one, or `python -m ashore_discovery` with ASHORE_SITE and ASHORE_NODE"
_MANY = 40
_SHOWN = 5
_STYLES = {"appeared": "green", "changed": "yellow", "disappeared": "red", "unknown": "magenta"}


class DeviceRow(DiscoveredDevice, kw_only=True):
    """A device with where it is."""

    site: str
    node: str


class HealthRow(ListenerHealth, kw_only=True):
    """A listener with where it is."""

    node: str


async def show_devices(site: str, node: str, options: Options, *, gone: bool, wanted: bool) -> None:
    """All devices of all agents, or those that a configuration wants; of a long list they stand first."""
    async with _client(options) as client:
        found = await _each(client, site, node, lambda agent: client.devices(agent, gone=gone))
    rows = [
        DeviceRow(**msgspec.structs.asdict(device), site=agent.site, node=agent.node)
        for agent, devices in found
        for device in devices
        if device.matches or not wanted
    ]
    rows.sort(key=lambda one: (not one.matches, not one.facts.get("devnode"), one.facets, one.node))
    columns: list[Column[DeviceRow]] = [
        Column("node", lambda one: one.node),
        Column("key", lambda one: one.key),
        Column("state", lambda one: one.state),
        Column("seen by", lambda one: ", ".join(one.facets)),
        Column("what", _words),
        Column("wanted by", lambda one: ", ".join(match.configuration for match in one.matches)),
        Column("heard", lambda one: age(_time(one.heard_at))),
    ]
    empty = f"The agents see no device{' that is wanted' if wanted else ''}. "
    show_list(rows, columns, options, empty=f"{empty}`ashore discovery health` says what they look for.")
    if form(options) == "table" and len(rows) > _MANY:
        say(f"{len(rows)} devices, {sum(bool(one.matches) for one in rows)} of them wanted: --wanted shows only those.")


async def show_changes(site: str, node: str, options: Options) -> None:
    """Devices as they come and go."""
    async with _client(options) as client, aclosing(client.watch(site, node)) as events:
        async for event in events:
            if form(options) == "table":
                _line(event)
            else:
                print(msgspec.json.encode(event).decode(), flush=True)


async def show_explanation(key: str, site: str, node: str, options: Options) -> None:
    """One device, by whichever agent sees it."""
    async with _client(options) as client:
        agent, found = await _explained(client, await _agents(client, site, node), key)
    if form(options) != "table":
        show_data(found, options)
        return
    out = console()
    out.print(Text(printable(f"{found.device.key} on {agent.node}: {found.device.state}"), style="bold"))
    for facet in found.facets:
        names = ", ".join(facet.identity)
        out.print(printable(f"  seen by {facet.source} as {facet.id}: {facet.state}, {facet.cause}; {names}"))
    for sentence in found.rulings:
        out.print(printable(f"  {sentence}"))
    for name, value in found.device.facts.items():
        out.print(printable(f"  {name}: {value}"))
    for one in found.judgements:
        words = "wants it" if one.matched else "does not want it"
        out.print(Text(printable(f"  {one.configuration} {words}: {one.why}"), style="green" if one.matched else ""))


async def _explained(client: DiscoveryClient, agents: list[AgentAlive], key: str) -> tuple[AgentAlive, Explanation]:
    """By its key, an alias or a name that people gave it, which agents know; else by what the list shows of it."""
    problems: list[ClientError] = []
    for agent in agents:
        try:
            return agent, await client.explain(agent, key)
        except ClientError as error:
            problems.append(error)
    found = await _asked(agents, client.devices)
    seen = [(agent, one) for agent, devices in found for one in devices if _is_called(one, key)]
    if not seen:
        raise problems[0]
    if len(seen) > 1:
        keys = ", ".join(device.key for _, device in seen[:_SHOWN])
        raise CommandError(f"several devices are called '{key}': {keys}", remedy="give the key of one")
    [(agent, device)] = seen
    return agent, await client.explain(agent, device.key)


def _is_called(device: DiscoveredDevice, text: str) -> bool:
    return text in (_words(device), *(str(fact) for fact in device.facts.values()), *device.facets)


async def look_around(handlers: list[str], site: str, node: str, options: Connection) -> None:
    """Have agents look around."""
    async with _client(options) as client:
        found = await _each(client, site, node, lambda agent: client.rescan(agent, handlers))
    for agent, sources in found:
        say(
            f"{agent.node}: {', '.join(sources) or 'no listener can'} {'look' if len(sources) > 1 else 'looks'} around."
        )


async def show_health(site: str, node: str, options: Options) -> None:
    """How agents work."""
    async with _client(options) as client:
        found = await _each(client, site, node, client.health)
    if form(options) != "table":
        show_data([health for _, health in found], options)
        return
    rows = [
        HealthRow(**msgspec.structs.asdict(source), node=health.node)
        for _, health in found
        for source in health.sources
    ]
    columns: list[Column[HealthRow]] = [
        Column("node", lambda one: one.node),
        Column("listener", lambda one: one.source),
        Column("mode", lambda one: one.mode),
        Column("devices", lambda one: one.devices),
        Column("p50 ms", lambda one: one.p50_ms),
        Column("p99 ms", lambda one: one.p99_ms),
        Column("dropped", lambda one: one.dropped),
        Column("quarantined", lambda one: one.quarantined),
        Column("last event", lambda one: age(_time(one.last_event_at))),
        Column("why", lambda one: one.reason, wraps=True),
    ]
    show_list(rows, columns, options, empty="No configuration asks for anything.")
    _problems([health for _, health in found])


async def forget_agent(node: str, site: str, options: Connection) -> None:
    """Retire an agent that is away for good."""
    async with _client(options) as client:
        agents = await client.agents(site, node)
        if not agents:
            raise CommandError(
                f"no agent of a node '{node}' has been heard of", remedy="`ashore doctor` names the silent ones"
            )
        if len(agents) > 1:
            sites = ", ".join(agent.site for agent in agents)
            raise CommandError(f"there is a node '{node}' at several sites: {sites}", remedy="name one with --site")
        await client.forget(agents[0])
    say(f"The agent of {node} is retired, and its devices are gone.")


async def apply_file(file: Path, site: str, options: Connection) -> None:
    """Publish the configurations and devices of a file; whether they can be used each agent says in its health."""
    configurations, devices = _read(file)
    # All or nothing: a name that cannot be is found before anything is told.
    instructions = [configured(site, str(one["name"]), one) for one in configurations]
    instructions += [ruled(site, str(one["name"]), one) for one in devices]
    async with _client(options) as client:
        await client.instruct(*instructions)
    if configurations:
        say(f"The agents of {site} look for {_named(configurations)}.")
    if devices:
        say(f"The agents of {site} know {_named(devices)}.")


async def remove_configuration(name: str, site: str, options: Connection, *, device: bool) -> None:
    """Take a configuration away, or what people say of a device."""
    async with _client(options) as client:
        await client.instruct(ruled(site, name, None) if device else configured(site, name, None))
    say(f"The agents of {site} no longer {'know' if device else 'look for'} {name}.")


def _read(file: Path) -> list[list[dict[str, object]]]:
    """The configurations and the devices in a file."""
    documents = read_documents(file)
    data = documents[0] if len(documents) == 1 else None
    found = [data.get(name) or [] for name in ("configurations", "devices")] if isinstance(data, dict) else []
    if not any(found) or not all(isinstance(one, dict) and one.get("name") for each in found for one in each):
        raise CommandError(
            f"{file} has no list `configurations` or `devices`, each with a `name`",
            remedy="see docs/reference/discovery.md",
        )
    return found


def _named(found: list[dict[str, object]]) -> str:
    return ", ".join(str(one["name"]) for one in found)


@asynccontextmanager
async def _client(options: Connection) -> AsyncIterator[DiscoveryClient]:
    context = options.context()
    async with joined(context) as bus:
        await checked(bus, context)
        yield DiscoveryClient(bus)


async def _agents(client: DiscoveryClient, site: str, node: str) -> list[AgentAlive]:
    agents = await client.agents(site, node)
    if not agents:
        which = " of the ".join(f"{what} '{name}'" for what, name in (("node", node), ("site", site)) if name != "*")
        raise CommandError(f"no discovery agent{f' of the {which}' if which else ''} has been heard of", remedy=_START)
    return agents


async def _each(
    client: DiscoveryClient, site: str, node: str, ask: Callable[[AgentAlive], Awaitable[T]]
) -> list[tuple[AgentAlive, T]]:
    """Ask all agents at once; those that do not answer are named, and the others count."""
    return await _asked(await _agents(client, site, node), ask)


async def _asked(agents: list[AgentAlive], ask: Callable[[AgentAlive], Awaitable[T]]) -> list[tuple[AgentAlive, T]]:
    answers = await asyncio.gather(*(ask(agent) for agent in agents), return_exceptions=True)
    found: list[tuple[AgentAlive, T]] = []
    for agent, answer in zip(agents, answers, strict=True):
        if isinstance(answer, ClientError):
            say(f"{answer.detail}.")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found.append((agent, answer))
    return found


def _line(event: DeviceSeen) -> None:
    time = datetime.fromtimestamp(event.seen_at / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    wanted = ", ".join(match.configuration for match in event.matches)
    rest = f"{event.node}  {event.key}  {event.cause}  {', '.join(event.facets)}  {wanted}"
    console().print(
        Text.assemble((f"{time}  ", "dim"), (f"{event.change:<12}", _STYLES.get(event.change, "")), printable(rest))
    )


def _words(device: DiscoveredDevice) -> str:
    facts = device.facts
    named = [
        str(facts[name])
        for name in ("given_name", "vendor", "model", "name", "description", "devnode")
        if facts.get(name)
    ]
    return " ".join(named) or str(facts.get("kernel") or ", ".join(device.endpoints))


def _problems(found: list[AgentHealth]) -> None:
    for health in found:
        for name, sentences in health.problems.items():
            for sentence in sentences:
                say(f"{health.node}: {name}: {sentence}")


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None

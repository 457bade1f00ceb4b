"""What the reference says of discovery, from the types of the agent and of its handlers."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any, Final

import msgspec

from ashore_discovery import api
from ashore_discovery.configurations.document import Configuration, NodeFile
from ashore_discovery.listening import remote
from ashore_discovery.listening.akri import details as akri
from ashore_discovery.listening.catalogue import GROUP, Catalogue
from ashore_discovery.matching.desk import AnyHandler
from ashore_discovery.model import IDENTITY_RANKS

Json = dict[str, Any]

_REFERENCE: Final = "#/components/schemas/{name}"
_ANSWERS: Final = (
    api.ListQuestion,
    api.ListAnswer,
    api.ExplainQuestion,
    api.ExplainAnswer,
    api.RescanQuestion,
    api.RescanAnswer,
    api.HealthAnswer,
    api.Problem,
)
_REMOTE: Final = (
    remote.Registration,
    remote.Welcome,
    remote.Configure,
    remote.Configured,
    remote.Report,
    remote.Receipt,
)
_FILE: Final = (
    "A node's file, in YAML or TOML. The same configurations, one in each event `configuration-set`, come over the bus."
)
_AKRI: Final = (
    "Handlers of Akri that have registered over gRPC, where ASHORE_AKRI_DIR is set. Details have this form, or any "
    "other, which is sent as `discoveryDetails` in JSON; settings stand below `handlers` under the handler's name."
)
_QUESTIONS: Final = (
    "Requests on `discovery.<site>.<node>.<verb>` over NATS: `list`, `explain`, `rescan` and `health`. A question that "
    "cannot be understood gets a Problem."
)


def handlers() -> list[AnyHandler]:
    """The handlers that come with the agent."""
    own = [point for point in entry_points(group=GROUP) if point.value.startswith("ashore_discovery.")]
    catalogue = Catalogue(own)
    return [catalogue.load(name) for name in catalogue.names()]


def parts() -> Iterator[tuple[str, str, Json]]:
    """Each chapter: its title, its text, its types."""
    ranks = ", ".join(IDENTITY_RANKS)
    yield "Configuration", f"{_FILE} What identifies a device, the strongest first: {ranks}.", components(NodeFile)
    for kind in handlers():
        yield f"{kind.name}", _handler(kind), components(kind.details_type, kind.settings_type)
    yield "Answers", _QUESTIONS, components(*_ANSWERS)
    yield "Remote handlers", " ".join((remote.__doc__ or "").partition("\n\n")[2].split()), components(*_REMOTE)
    yield "Akri's handlers", _AKRI, components(akri.Details, akri.AkriSettings)


def schemas() -> Json:
    """JSON Schemas of all that a person writes: the node's file, and by handler its details and settings."""
    return {
        "file": msgspec.json.schema(NodeFile),
        "details": {kind.name: msgspec.json.schema(kind.details_type) for kind in handlers()},
        "settings": {kind.name: msgspec.json.schema(kind.settings_type) for kind in handlers()},
    }


def configurations() -> Json:
    """JSON Schemas of a configuration, and of what its details may say to each handler."""
    return {"configuration": msgspec.json.schema(Configuration), "details": schemas()["details"]}


def components(*kinds: type[msgspec.Struct]) -> Json:
    """The schemas of these types and of all that they consist of."""
    return msgspec.json.schema_components(kinds, ref_template=_REFERENCE)[1]


def _handler(kind: AnyHandler) -> str:
    abilities = [name for name in ("probe", "scan", "enrich") if kind.can(name)]
    facts = [
        "seen by agents of all nodes of a network" if kind.shared else "seen by its own node",
        "one listener for each network interface" if kind.per_interface else "one listener",
        *([f"can {', '.join(abilities)}"] if abilities else []),
    ]
    return f"Handler `{kind.name}`. {kind.summary}. Devices are {'; '.join(facts)}."

"""Writes docs/reference from the code, so that the reference cannot fall behind it.

`make docs` writes the pages; `tests/unit/test_docs.py` makes them anew in memory and fails where one is stale. What the
pages say stands in the code: descriptions of settings, events, routes and types, help texts of the command line.
"""

import importlib
import importlib.metadata
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ashore.bus.permissions import USERS
from ashore.config import Description, Settings
from ashore.events import EVENTS, STREAMS, Event, stream_of
from ashore.events_asyncapi import asyncapi
from ashore.http.health import Health, operations
from ashore.http.openapi import openapi
from ashore.http.routes import Route
from ashore.telemetry import Metrics
from ashore_broker_launcher import crds
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_cli.app import app as cli
from ashore_device_plugin.config import DevicePluginSettings
from ashore_discovery.config import DiscoverySettings
from ashore_manufacturer.config import ManufacturerSettings
from ashore_owner.config import OwnerSettings
from ashore_rendezvous.config import RendezvousSettings
from docs import discovery

Json = dict[str, Any]

FOLDER: Final = Path(__file__).parent / "reference"
SERVICES: Final[tuple[type[Settings], ...]] = (
    ManufacturerSettings,
    RendezvousSettings,
    OwnerSettings,
    BrokerLauncherSettings,
)
HANDLER_SCHEMAS: Final = Path(
    FOLDER.parents[1], "services/broker-launcher/ashore_broker_launcher/admission/handler_schemas.json"
)
"""The broker launcher's copy of what handlers understand: services do not import one another."""
DEFINITIONS: Final = FOLDER.parents[1] / "deploy/kubernetes/crds"
"""Where kubectl finds the custom resource definitions: kustomize reads no file outside of its folder."""
AGENTS: Final[tuple[type[Settings], ...]] = (DiscoverySettings, DevicePluginSettings)
"""Who has settings and no REST API."""
_MADE: Final = "<!-- Made by `make docs` from the code: change it there. -->"
_CONNECTION: Final = re.compile(r"\*\*Connection\*\*:\n\n(?:\* .*\n)+\n?")


def pages() -> dict[str, str]:
    """Every generated file by its name."""
    documents = {settings.service: _openapi(settings.service) for settings in SERVICES}
    return {
        "asyncapi.json": _json(asyncapi()),
        "cli.md": _cli_page(),
        "discovery.md": _discovery_page(),
        "discovery-schemas.json": _json(discovery.schemas()),
        "events.md": _events_page(),
        "rest.md": _rest_page(documents),
        "settings.md": _settings_page(),
        **{f"openapi-{name}.json": _json(document) for name, document in documents.items()},
    }


def write(folder: Path) -> list[str]:
    """Write what has changed and remove what is made no more; the answer is the names of both."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    changed = [path for path in folder.iterdir() if path.name not in wanted]
    for path in changed:
        path.unlink()
    names = [path.name for path in changed]
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            names.append(name)
    return names


def handler_schemas() -> str:
    """What a Configuration may tell the handlers, for the broker launcher."""
    return msgspec.json.encode(discovery.configurations()).decode() + "\n"


def copies() -> dict[Path, str]:
    """Files outside of the reference that are made from the code as well."""
    definitions = {DEFINITIONS / f"{name}.yaml": crds.text(name) for name in crds.NAMES}
    return {HANDLER_SCHEMAS: handler_schemas(), **definitions}


def routes(service: str) -> list[Route]:
    """The management API of a service, which need not run for that: an Api lists what it can do without doing it."""
    package = importlib.import_module(f"ashore_{service.replace('-', '_')}")
    names = sorted(one.name for one in pkgutil.iter_modules(package.__path__) if one.name.startswith("api"))
    modules = (importlib.import_module(f"{package.__name__}.{name}") for name in names)
    apis = [one for module in modules for one in vars(module).values() if _is_api(one, module.__name__)]
    return [*operations(Health({}), Metrics()), *(route for api in apis for route in api.__new__(api).routes())]


def _is_api(one: object, module: str) -> bool:
    return isinstance(one, type) and one.__module__ == module and one.__name__.endswith("Api")


def _openapi(service: str) -> Json:
    return openapi(routes(service), title=f"ashore {service}", version=importlib.metadata.version("ashore"))


def _json(document: Mapping[str, object]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _page(title: str, introduction: str, parts: Iterable[str]) -> str:
    return "\n\n".join((f"# {title}", _MADE, introduction, *parts)).rstrip() + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


# Settings.


def _settings_page() -> str:
    common = {one.variable: one for one in Settings.describe()}
    introduction = (
        "Every setting is an environment variable. `NAME_FILE` names a file that holds the value of `NAME`, which is "
        "how secrets are given. An empty variable counts as unset. All that is wrong is told at once, before anything "
        "starts."
    )
    parts = ["## Every service", _settings_table(common.values())]
    for settings in (*SERVICES, *AGENTS):
        own = [one for one in settings.describe() if one != common.get(one.variable)]
        # What one process takes at random is no default that a page could name.
        parts += [f"## {settings.service.replace('-', ' ').capitalize()}", _settings_table(own)]
    return _page("Settings", introduction, parts)


def _settings_table(settings: Iterable[Description]) -> str:
    rows = ([f"`{one.variable}`", one.type, _code(one.default), one.description] for one in settings)
    return _table(["Variable", "Value", "Default", "What it is for"], rows)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


# Events.


def _events_page() -> str:
    introduction = (
        "Facts on the bus, as CloudEvents 1.0 in JSON, and the streams that keep them; the same for machines is in "
        "[asyncapi.json](asyncapi.json). An MQTT client sees `/` for `.`. Events come at least once: handle them "
        "idempotently, by `id`."
    )
    schemas: Json = asyncapi()["components"]["schemas"]  # type: ignore[index]  # the document is built of dicts
    envelope = ["## The envelope", _summary(schemas["Envelope"]), _fields(schemas["Envelope"], "")]
    events = (part for event in EVENTS for part in _event(event, schemas))
    streams = ["## Streams", _streams_table()]
    return _page("Events", introduction, [*envelope, *events, *streams])


def _event(event: type[Event], schemas: Json) -> Iterator[str]:
    address = ".".join((event.name, *(f"<{field}>" for field in event.subject_fields)))
    publishers = [user.name for user in USERS if event.name in user.publishes]
    consumers = [user.name for user in USERS if event.name in user.consumes]
    facts = [f"Subject `{address}`", f"type `{event.type()}`", f"stream {stream_of([event.name]).name}"]
    facts += [f"published by {', '.join(publishers)}"] if publishers else []
    facts += [f"consumed by {', '.join(consumers)}"] if consumers else []
    schema = schemas[event.__name__]
    yield f"## {event.name}"
    yield _summary(schema)
    yield "; ".join(facts) + "."
    yield _fields(schema, "")


def _streams_table() -> str:
    rows = (
        [
            stream.name,
            stream.description,
            ", ".join(f"`{subject}`" for subject in stream.subjects),
            f"{stream.max_age_seconds // 86_400} days" if stream.max_age_seconds else "",
            str(stream.max_msgs_per_subject or ""),
        ]
        for stream in STREAMS
    )
    return _table(["Stream", "What it keeps", "Subjects", "For how long", "Last per subject"], rows)


# REST.


def _rest_page(documents: Mapping[str, Json]) -> str:
    introduction = (
        "The management APIs. A request carries `Authorization: Bearer <token>`; the admin's token lies in the file "
        "`admin-token` of the data folder, and the scope says what a token must be allowed. Errors are problem "
        "documents (RFC 9457) that say what to do next. Each service tells the same of itself at `/openapi.json`."
    )
    return _page("REST", introduction, (part for name, one in documents.items() for part in _service(name, one)))


def _service(name: str, document: Json) -> Iterator[str]:
    yield f"## {name.replace('-', ' ').capitalize()}"
    yield f"For machines: [openapi-{name}.json](openapi-{name}.json)."
    heads = ["Operation", "What it does", "Scope", "Query", "Request", "Response"]
    operations_of = (
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    yield _table(heads, (_operation(name, *one) for one in operations_of))
    for kind, schema in document["components"]["schemas"].items():
        yield f'<a id="{name}-{kind.lower()}"></a>**{kind}**: {_summary(schema)}'
        yield _fields(schema, name)


def _operation(service: str, method: str, path: str, operation: Json) -> list[str]:
    scopes = operation.get("security", [{"token": ["open"]}])[0]["token"]
    query = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
    status, response = next(iter(operation["responses"].items()))
    return [
        f"`{method} {path}`",
        operation["summary"],
        scopes[0],
        ", ".join(f"`{name}`" for name in query),
        _content(operation.get("requestBody", {}), service),
        f"{status} {_content(response, service)}".strip(),
    ]


def _content(body: Json, service: str) -> str:
    content: Json = body.get("content", {})
    schema = content.get("application/json", {}).get("schema")
    return _words(schema, service) if schema is not None else ", ".join(content)


# Discovery.


def _discovery_page() -> str:
    introduction = (
        "What agents can be told to look for, what each handler understands, what agents answer, and how handlers "
        "outside the agent's process speak with it. For machines, and for editors that check while one writes: "
        "[discovery-schemas.json](discovery-schemas.json). A key that nobody reads is an error."
    )
    parts: list[str] = []
    for title, text, schemas in discovery.parts():
        anchor = title.split()[0].lower()
        parts += [f"## {title}", text]
        for kind, schema in schemas.items():
            parts += [f'<a id="{anchor}-{kind.lower()}"></a>**{kind}**: {_summary(schema)}', _fields(schema, anchor)]
    return _page("Discovery", introduction, parts)


# Types, by their JSON schemas.


def _summary(schema: Json) -> str:
    return " ".join(str(schema.get("description", "")).split())


def _fields(schema: Json, service: str) -> str:
    properties = schema.get("properties")
    if properties is None:
        return f"One of: {_words({k: v for k, v in schema.items() if k != 'description'}, service)}."
    required = set(schema.get("required", []))
    rows = (
        [f"`{name}`", _words(value, service), _default(name in required, value), _meaning(value)]
        for name, value in properties.items()
    )
    return _table(["Field", "Type", "Default", "Meaning"], rows) if properties else "It has no fields."


def _default(is_required: bool, schema: Json) -> str:  # noqa: FBT001 - called in one place
    if is_required:
        return "required"
    return _code(msgspec.json.encode(schema["default"]).decode()) if "default" in schema else ""


def _meaning(schema: Json) -> str:
    parts = (schema, *schema.get("anyOf", ()))
    return next((_summary(part) for part in parts if "description" in part), "")


def _words(schema: Json, service: str) -> str:
    """A schema in a few words, with links to the types that it names."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}](#{service}-{name.lower()})" if service else name
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(_words(one, service) for one in schema["anyOf"])
    match schema.get("type"):
        case "array":
            return f"list of {_words(schema.get('items', {}), service)}"
        case "object":
            values = schema.get("additionalProperties")
            return f"object of {_words(values, service)}" if isinstance(values, dict) else "object"
        case str(kind):
            return kind
    return "anything"


# The command line.


def _cli_page() -> str:
    _, _, body = cli.generate_docs(output_format="markdown").partition("\n")
    blocks = _CONNECTION.findall(body)
    shared = max(set(blocks), key=blocks.count)
    body = body.replace(shared, "")
    options = shared.partition("\n")[2].strip()
    introduction = f"## Connection options\n\nEvery command that talks to services takes these.\n\n{options}"
    return _page("The command line", introduction, [re.sub(r"\n{3,}", "\n\n", body).strip()])


if __name__ == "__main__":
    for _name in write(FOLDER):
        sys.stdout.write(f"docs/reference/{_name}\n")
    for _path, _copy in copies().items():
        _path.write_text(_copy, encoding="utf-8")

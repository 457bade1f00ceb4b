"""What is wrong with a Configuration, as plain JSON and in sentences for people. Pure.

The webhook asks before an object is stored, the reconciler asks of what came in without it, and whoever has no cluster
asks of files. Whatever the text or the shape, the answer is sentences and never an exception.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from ashore.events import handler_token
from ashore_broker_launcher import names
from ashore_broker_launcher.admission import handlers
from ashore_broker_launcher.admission.brokers import broker_problems
from ashore_broker_launcher.admission.manifests import manifest_problems
from ashore_broker_launcher.admission.schemas import Schema, unknown_key
from ashore_broker_launcher.cluster import CONFIGURATION, JsonObject, Key
from ashore_broker_launcher.desired.handed_out import HandedOut, World, handed_out
from ashore_broker_launcher.model import Configuration, ConfigurationSpec, ObjectError

_OBJECT: Final = ("apiVersion", "kind", "metadata", "spec", "status")
_SPEC: Final = Schema(msgspec.json.schema(ConfigurationSpec))
_TOO_DEEP: Final = ["it is nested too deeply"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the launcher's settings and other parts have to say."""

    manifest_kinds: Collection[str] = ()
    """Kinds that `brokerManifests` may have, as `v1/ConfigMap`."""
    shared_namespaces: Collection[str] = ()
    """See `World`."""


def problems(body: JsonObject, rules: Rules = Rules()) -> list[str]:  # noqa: B008 - frozen
    """Why the Configuration cannot work; empty where nothing speaks against it."""
    try:
        return _problems(body, rules)
    except RecursionError:
        return _TOO_DEEP


def warnings(body: JsonObject) -> list[str]:
    """What may be meant, and is worth a word. Of a Configuration that has problems, nothing."""
    try:
        return list(_warnings(Configuration.read(body)))
    except (ObjectError, RecursionError):
        return []


def told(
    configuration: Configuration,
    rules: Rules,
    config_maps: Mapping[Key, JsonObject] | None,
) -> HandedOut:
    """What agents are told of it, see `handed_out`; without ConfigMaps only its form is looked at."""
    world = World(handlers=handlers.known(), config_maps=config_maps, shared_namespaces=rules.shared_namespaces)
    return handed_out(configuration, world)


def _problems(body: JsonObject, rules: Rules) -> list[str]:
    if (body.get("apiVersion"), body.get("kind")) != (CONFIGURATION.api_version, CONFIGURATION.name):
        shown = f"{body.get('apiVersion')} {body.get('kind')}"[:100]
        return [f"it is {shown}, and not {CONFIGURATION.api_version} {CONFIGURATION.name}"]
    unknown = [unknown_key(key, list(_OBJECT), "it") for key in body if key not in _OBJECT]
    unknown += _SPEC.unknown(body.get("spec", {}), "spec")
    if unknown:
        return unknown
    try:
        configuration = _placed(Configuration.read(body))
    except ObjectError as error:
        return [_sentence(error)]
    document = told(configuration, rules, None)
    found = [
        *_name(configuration),
        *broker_problems(body["spec"]),
        *_rollout(configuration),
        *_manifests(configuration, rules),
        *document.problems,
    ]
    return [*found, *(handlers.problems(document.document) if document.document is not None else ())]


def _placed(configuration: Configuration) -> Configuration:
    """A file need not say in which namespace it will be."""
    metadata = configuration.metadata
    placed = msgspec.structs.replace(metadata, namespace=metadata.namespace or "default")
    return msgspec.structs.replace(configuration, metadata=placed)


def _sentence(error: ObjectError) -> str:
    """`expected str, got int - at $.spec.capacity` with the place in front."""
    text = str(error.__cause__ or error)
    what, _, place = text.partition(" - at `$.")
    return f"{place.rstrip('`')}: {what}" if place else text


def _name(configuration: Configuration) -> Iterator[str]:
    name = configuration.metadata.name
    if len(name) > names.LONGEST_CONFIGURATION:
        yield (
            f"metadata.name has {len(name)} characters, and names of its instances would be too long; it may have "
            f"{names.LONGEST_CONFIGURATION}"
        )


def _rollout(configuration: Configuration) -> Iterator[str]:
    window = configuration.spec.rollout.maintenance_window
    if window is None:
        return
    place = "spec.rollout.maintenanceWindow"
    if window.from_ == window.until:
        yield f"{place} begins when it ends, so it is never open"
    if not window.days:
        yield f"{place}.days is empty, so it is never open: leave it out for every day"
    try:
        ZoneInfo(window.time_zone)
    except (ValueError, OSError, LookupError):
        yield f"{place}.timeZone: there is no time zone '{window.time_zone[:64]}'; write one such as Europe/Berlin"


def _manifests(configuration: Configuration, rules: Rules) -> Iterator[str]:
    for index, manifest in enumerate(configuration.spec.broker_manifests):
        for problem in manifest_problems(manifest, configuration, rules.manifest_kinds):
            yield f"spec.brokerManifests[{index}] {problem}"


def _warnings(configuration: Configuration) -> Iterator[str]:
    handler = configuration.spec.discovery_handler
    name = handler_token(handler.name)
    if name not in handlers.known():
        yield (
            f"discoveryHandler.name: ashore has no handler '{handler.name[:64]}', so nothing is found until one of "
            f"that name registers; it has {', '.join(sorted(handlers.known()))}"
        )
    elif handler.discovery_properties and "discoveryProperties" not in handlers.known()[name]:
        yield f"discoveryHandler.discoveryProperties: the handler '{name}' takes none, so they are not used"
    spec = configuration.spec
    if spec.broker_spec is None and not spec.broker_manifests and spec.configuration_service_spec is not None:
        yield "configurationServiceSpec: without a broker the service leads nowhere"

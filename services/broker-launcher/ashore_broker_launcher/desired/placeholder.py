"""How a broker's pod template gets its device.

Where a container asks for the resource `{{PLACEHOLDER}}`, that becomes `akri.sh/<instance>`, and the kubelet gives the
container the device's properties as its environment, by the device plugin. Where none asks for it, no device plugin is
needed (cameras and other things with an address): then the properties are written into the template, as `KEY` and as
`KEY_<DIGEST>`, under the same names that the kubelet would use. What the user has set wins over them.

A value is given as it is: what the kubelet would take for a reference to another variable, `$(PASSWORD)`, is escaped,
as values come from devices, and a device must not be able to read its broker's secrets. Everything else of the
template passes word for word, `resources.claims` too.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ashore_broker_launcher import names
from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.phases import dicts
from ashore_broker_launcher.model import Instance

PLACEHOLDER: Final = "{{PLACEHOLDER}}"
_CONTAINERS: Final = ("initContainers", "containers")
_AMOUNTS: Final = ("limits", "requests")
_VARIABLE: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def resource(instance: Instance) -> str:
    """The extended resource by which a pod gets this device."""
    return f"{names.RESOURCE_PREFIX}{instance.metadata.name}"


def with_device(template: JsonObject, instance: Instance) -> JsonObject:
    """The pod spec with the instance's resource, or without one with its properties."""
    if any(PLACEHOLDER in amounts for amounts in _amounts(template)):
        return _each_container(template, lambda one: _with_resource(one, resource(instance)))
    given = environment(instance)
    return _each_container(template, lambda one: _with_environment(one, given))


def environment(instance: Instance) -> dict[str, str]:
    """The variables that a broker gets: each property plain and with the instance's digest."""
    digest = names.digest_of(instance.spec.configuration_name, instance.metadata.name).upper()
    usable = {key: value for key, value in instance.spec.broker_properties.items() if _VARIABLE.fullmatch(key)}
    return {**usable, **{f"{key}_{digest}": value for key, value in usable.items()}}


def unusable(properties: Mapping[str, str]) -> list[str]:
    """Names of properties that no environment can have."""
    return sorted(key for key in properties if not _VARIABLE.fullmatch(key))


def escaped(value: str) -> str:
    """A text that is the same after the kubelet has looked for references in it."""
    return value.replace("$", "$$")


def _amounts(template: JsonObject) -> list[JsonObject]:
    containers = [one for name in _CONTAINERS for one in dicts(template.get(name))]
    resources = [one["resources"] for one in containers if isinstance(one.get("resources"), dict)]
    return [one[name] for one in resources for name in _AMOUNTS if isinstance(one.get(name), dict)]


def _each_container(template: JsonObject, change: Callable[[JsonObject], JsonObject]) -> JsonObject:
    changed = {
        name: [change(one) if isinstance(one, dict) else one for one in template[name]]
        for name in _CONTAINERS
        if isinstance(template.get(name), list)
    }
    return {**template, **changed}


def _with_resource(container: JsonObject, resource: str) -> JsonObject:
    asked = container.get("resources")
    if not isinstance(asked, dict):
        return container
    return {**container, "resources": {key: _renamed(key, value, resource) for key, value in asked.items()}}


def _renamed(key: str, amounts: Any, resource: str) -> Any:
    if key not in _AMOUNTS or not isinstance(amounts, dict):
        return amounts
    return {resource if name == PLACEHOLDER else name: value for name, value in amounts.items()}


def _with_environment(container: JsonObject, given: Mapping[str, str]) -> JsonObject:
    own = container.get("env") or []
    if not given or not isinstance(own, list):
        return container
    taken = {one.get("name") for one in dicts(own)}
    ours = [{"name": key, "value": escaped(value)} for key, value in sorted(given.items()) if key not in taken]
    # Ours come first, so that the user's own variables may refer to them.
    return {**container, "env": [*ours, *own]}

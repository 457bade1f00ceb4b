"""What can be said of `brokerSpec` without a cluster: its kind, what is in the wrong place, `{{PLACEHOLDER}}`. Pure.

Whether every field exists and has a sensible value is asked of the API server, see `trial.py`.
"""

from collections.abc import Iterator
from typing import Final, cast

from ashore_broker_launcher.cluster import JsonObject

PLACEHOLDER: Final = "{{PLACEHOLDER}}"
POD: Final = "spec.brokerSpec.brokerPodSpec"
JOB: Final = "spec.brokerSpec.brokerJobSpec"
_OF_AN_OBJECT: Final = ("apiVersion", "kind", "metadata", "spec")
_OF_A_POD: Final = ("containers", "restartPolicy", "initContainers", "volumes")
_CONTAINERS: Final = ("containers", "initContainers")
_DEEPEST: Final = 64


def broker_problems(spec: JsonObject) -> Iterator[str]:
    """A sentence for each mistake."""
    broker = spec.get("brokerSpec")
    if not isinstance(broker, dict):
        return
    given = [name for name in ("brokerPodSpec", "brokerJobSpec") if broker.get(name) is not None]
    if len(given) != 1:
        has = "both" if given else "neither"
        yield f"spec.brokerSpec needs exactly one of brokerPodSpec and brokerJobSpec; it has {has}"
        return
    body = cast(JsonObject, broker[given[0]])
    yield from _job(body) if given == ["brokerJobSpec"] else _pod(body, POD)


def _job(body: JsonObject) -> Iterator[str]:
    misplaced = [name for name in _OF_A_POD if name in body]
    for name in misplaced:
        yield f"{JOB} has no '{name}': that belongs below {JOB}.template.spec"
    yield from _whole_object(body, JOB, "a Job")
    template = body.get("template")
    pod = template.get("spec") if isinstance(template, dict) else None
    if not isinstance(pod, dict):
        if not misplaced:
            yield f"{JOB} needs a template with a spec, which has the containers"
        return
    yield from _pod(pod, f"{JOB}.template.spec")
    rest = {**body, "template": {**cast(JsonObject, template), "spec": None}}
    yield from _stray(rest, JOB)


def _pod(pod: JsonObject, place: str) -> Iterator[str]:
    whole = list(_whole_object(pod, place, "a Pod"))
    yield from whole
    containers = pod.get("containers")
    if not whole and not (isinstance(containers, list) and containers):
        yield f"{place} needs containers: a list of at least one"
    yield from _stray(_without_resources(pod), place)


def _whole_object(body: JsonObject, place: str, what: str) -> Iterator[str]:
    found = [name for name in _OF_AN_OBJECT if name in body]
    if found:
        yield f"{place} has no '{found[0]}': it is only the spec of {what}, without what stands around it"


def _without_resources(pod: JsonObject) -> JsonObject:
    """The spec without the keys of limits and requests, where the placeholder belongs."""
    found = dict(pod)
    for name in _CONTAINERS:
        if isinstance(pod.get(name), list):
            found[name] = [_bare(one) for one in pod[name]]
    return found


def _bare(container: object) -> object:
    if not isinstance(container, dict) or not isinstance(container.get("resources"), dict):
        return container
    resources = dict(container["resources"])
    for name in ("limits", "requests"):
        if isinstance(resources.get(name), dict):
            resources[name] = {key: one for key, one in resources[name].items() if key != PLACEHOLDER}
    return {**container, "resources": resources}


def _stray(value: object, place: str, depth: int = 0) -> Iterator[str]:
    """Placeholders where nothing replaces them."""
    if depth > _DEEPEST:
        yield f"{place[:200]} is nested too deeply"
        return
    if isinstance(value, str) and PLACEHOLDER in value:
        yield f"{place} has {PLACEHOLDER}, which means something only as a name in limits and requests of containers"
    if isinstance(value, dict) and any(PLACEHOLDER in key for key in value):
        yield f"{place} has the name {PLACEHOLDER}, which belongs into limits and requests of containers"
    for name, child in _children(value):
        yield from _stray(child, f"{place}{name}", depth + 1)


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((f".{key[:64]}", one) for key, one in value.items())
    elif isinstance(value, list):
        yield from ((f"[{index}]", one) for index, one in enumerate(value))

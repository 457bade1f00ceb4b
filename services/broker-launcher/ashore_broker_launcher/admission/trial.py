"""Asks the API server whether it would take a broker: it knows every field of the release that it is.

A pod or a job is created for a trial only (`dryRun=All`, `fieldValidation=Strict`), so nothing is stored. A field that
does not exist, or a value that cannot be, is a problem. Whatever else is said (no such service account yet, a quota)
may be another thing tomorrow and is a warning; where nobody answers, nothing is said.
"""

import re
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from ashore_broker_launcher.admission.brokers import JOB as JOB_PLACE
from ashore_broker_launcher.admission.brokers import PLACEHOLDER
from ashore_broker_launcher.admission.brokers import POD as POD_PLACE
from ashore_broker_launcher.cluster import (
    JOB,
    POD,
    SERVICE,
    ClusterError,
    JsonObject,
    Kind,
    Refused,
    Unreachable,
)

_RESOURCE: Final = "akri.sh/trial"
_NAME: Final = "ashore-admission-trial"
_INVALID: Final = 422
_SERVICES: Final = ("instanceServiceSpec", "configurationServiceSpec")
_DECODING: Final = re.compile(r"cannot be handled as|json: cannot unmarshal|unable to decode|strict decoding error")

_ASKED: Final = re.compile(rf'^.*?(?=(?:Pod|Job|Service)(?:\.\w+)* (?:in version|"{_NAME}"))')
"""What the port says that it was about, which is no concern of the person's."""
_PREAMBLE: Final = re.compile(r'\w+ in version "[^"]*" cannot be handled as a \w+: (strict decoding error: )?')
_FIELD: Final = re.compile(r"Go struct field \w+\.spec\.|(?<![\w.\]])spec\.")


class Checker(Protocol):
    """A cluster that can be asked."""

    async def check(self, kind: Kind, body: JsonObject) -> None:
        """Create an object for a trial, with every field known; raise Refused with what is said against it."""
        ...


class _Part(NamedTuple):
    kind: Kind
    place: str
    spec: Any
    is_broker: bool


class Verdict(msgspec.Struct, frozen=True):
    """What the API server says of a broker."""

    problems: list[str] = []
    warnings: list[str] = []


async def try_broker(cluster: Checker, configuration: JsonObject) -> Verdict:
    """Ask about the broker and the services of a Configuration that has passed all other checks."""
    namespace = configuration.get("metadata", {}).get("namespace") or "default"
    problems: list[str] = []
    warnings: list[str] = []
    for part in _parts(configuration.get("spec", {})):
        try:
            await cluster.check(part.kind, _trial(part.kind, namespace, part.spec))
        except Refused as error:
            said = _in_place(str(error), part.place)
            if _DECODING.search(str(error)) or (error.status == _INVALID and part.is_broker):
                problems.append(said)
            elif part.is_broker:
                warnings.append(f"its broker could not be started now: {said}")
        except Unreachable:
            return Verdict(problems, warnings)
        except ClusterError as error:
            warnings.append(f"its broker could not be tried: {error}")
    return Verdict(problems, warnings)


def _parts(spec: JsonObject) -> list[_Part]:
    broker = spec.get("brokerSpec") or {}
    places = [
        _Part(POD, POD_PLACE, broker.get("brokerPodSpec"), is_broker=True),
        _Part(JOB, JOB_PLACE, broker.get("brokerJobSpec"), is_broker=True),
        # Whether its ports are free is another question, and those of an older one are not.
        *(_Part(SERVICE, f"spec.{name}", spec.get(name), is_broker=False) for name in _SERVICES),
    ]
    return [part for part in places if isinstance(part.spec, dict)]


def _trial(kind: Kind, namespace: str, spec: JsonObject) -> JsonObject:
    metadata = {"name": _NAME, "namespace": namespace}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "spec": _replaced(spec)}


def _replaced(spec: JsonObject) -> JsonObject:
    """The same with a resource where the placeholder is: the API server knows no braces in names."""
    text = msgspec.json.encode(spec).replace(f'"{PLACEHOLDER}"'.encode(), f'"{_RESOURCE}"'.encode())
    return msgspec.json.decode(text, type=JsonObject)


def _in_place(said: str, place: str) -> str:
    """What the API server says of `spec.containers`, about the place that the person knows."""
    said = _PREAMBLE.sub("", _ASKED.sub("", said)).replace(_RESOURCE, PLACEHOLDER).replace(f'"{_NAME}" ', "")
    return _FIELD.sub(f"{place}.", said)

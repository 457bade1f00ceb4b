"""Asks the API server whether it would take a broker: it knows every field of the release that it is.

A pod or a job is created for a trial only (`dryRun=All`, `fieldValidation=Strict`), so nothing is stored. A field that
does not exist, or a value that cannot be, is a problem. Whatever else is said (no such service account yet, a quota)
may be another thing tomorrow and is a warning; where nobody answers, nothing is said.
"""

import re
from typing import Final

import msgspec

from ashore_broker_launcher.admission.brokers import JOB as JOB_PLACE
from ashore_broker_launcher.admission.brokers import PLACEHOLDER
from ashore_broker_launcher.admission.brokers import POD as POD_PLACE
from ashore_broker_launcher.cluster import JOB, POD, Cluster, ClusterError, JsonObject, Kind, Refused, Unreachable

_RESOURCE: Final = "akri.sh/trial"
_NAME: Final = "ashore-admission-trial"
_INVALID: Final = 422
_BAD: Final = 400
_DECODING: Final = re.compile(r"cannot be handled as|json: cannot unmarshal|unable to decode|strict decoding error")

_ASKED: Final = re.compile(rf'^.*?(?=(?:Pod|Job)(?:\.\w+)* (?:in version|"{_NAME}"))')
"""What the port says that it was about, which is no concern of the person's."""
_PREAMBLE: Final = re.compile(
    r'(Pod|Job) in version "[^"]*" cannot be handled as a (Pod|Job): (strict decoding error: )?'
)
_FIELD: Final = re.compile(r"Go struct field \w+\.spec\.|(?<![\w.\]])spec\.")


class Verdict(msgspec.Struct, frozen=True):
    """What the API server says of a broker."""

    problems: list[str] = []
    warnings: list[str] = []


async def try_broker(cluster: Cluster, configuration: JsonObject) -> Verdict:
    """Ask about the broker of a Configuration that has passed all other checks."""
    namespace = configuration.get("metadata", {}).get("namespace") or "default"
    broker = configuration.get("spec", {}).get("brokerSpec") or {}
    if isinstance(broker.get("brokerPodSpec"), dict):
        kind, spec, place = POD, broker["brokerPodSpec"], POD_PLACE
    elif isinstance(broker.get("brokerJobSpec"), dict):
        kind, spec, place = JOB, broker["brokerJobSpec"], JOB_PLACE
    else:
        return Verdict()
    try:
        await cluster.check(kind, _trial(kind, namespace, spec))
    except Refused as error:
        said = _in_place(str(error), place)
        if error.status == _INVALID or (error.status == _BAD and _DECODING.search(str(error))):
            return Verdict([said])
        return Verdict(warnings=[f"its broker could not be started now: {said}"])
    except Unreachable:
        return Verdict()
    except ClusterError as error:
        return Verdict(warnings=[f"its broker could not be tried: {error}"])
    return Verdict()


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

"""What can be said of one of `brokerManifests` before any device is there to put into it. Pure.

Whoever applies it says the rest, see `desired/manifests.py`: a name is only one when its placeholders are filled in.
"""

import difflib
from collections.abc import Collection, Iterator
from typing import Final

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.manifests import CLUSTER_WIDE
from ashore_broker_launcher.desired.templates import TemplateError, placeholders, rendered
from ashore_broker_launcher.model import Configuration

_ALWAYS: Final = ("INSTANCE", "CONFIGURATION", "NAMESPACE", "DEVICE", "NODE", "PLACEHOLDER")
_OF_THE_DEVICE: Final = "properties."


def manifest_problems(manifest: JsonObject, configuration: Configuration, kinds: Collection[str]) -> Iterator[str]:
    """A sentence for each mistake, which goes on after the manifest's place."""
    kind = f"{manifest.get('apiVersion')}/{manifest.get('kind')}"[:100]
    if manifest.get("kind") in CLUSTER_WIDE:
        yield f"is a {kind}, which stands in no namespace, and manifests stay in that of their configuration"
    elif kinds and kind not in kinds:
        yield f"is a {kind}, which is not allowed; allowed are {', '.join(kinds)}"
    yield from _metadata(manifest.get("metadata", {}), configuration.metadata.namespace)
    yield from _placeholders(manifest)


def _metadata(metadata: object, own: str) -> Iterator[str]:
    if not isinstance(metadata, dict):
        yield "has metadata that is no object"
        return
    if metadata.get("namespace") not in (None, "", own):
        named = str(metadata["namespace"])[:64]
        yield f"names the namespace '{named}', and gets its configuration's: leave it out"
    if "generateName" in metadata and "name" not in metadata:
        yield "has a generateName, which would make a new object each time: write name, as 'thing-{{INSTANCE}}'"


def _placeholders(manifest: JsonObject) -> Iterator[str]:
    used = dict.fromkeys(placeholders(manifest))
    unknown = [name for name in used if name not in _ALWAYS and not name.startswith(_OF_THE_DEVICE)]
    for name in unknown:
        near = difflib.get_close_matches(name, [*_ALWAYS, f"{_OF_THE_DEVICE}{name}"], n=1, cutoff=0.4)
        meant = near[0] if near else f"{_OF_THE_DEVICE}NAME"
        yield f"has {{{{{name[:64]}}}}}, which is no placeholder; did you mean {{{{{meant}}}}}?"
    if not unknown:
        try:
            rendered(manifest, dict.fromkeys((*_ALWAYS, *used), "x"))
        except TemplateError as error:
            yield f"cannot be filled in: {error}"

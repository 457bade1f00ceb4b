"""The custom resource definitions of `akri.sh`: all that Akri's have, with a status and some fields of our own.

The files are YAML, so that kubectl applies them as they are; `install.py` brings them into a cluster.
"""

from importlib.resources import files
from typing import Final, cast

import yaml

from ashore_broker_launcher.cluster import JsonObject, Kind

DEFINITION: Final = Kind(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
NAMES: Final = ("configurations", "instances")


def text(name: str) -> str:
    """One of them as it is written."""
    return files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def definitions() -> list[JsonObject]:
    """Both, ready to be applied."""
    return [cast(JsonObject, yaml.safe_load(text(name))) for name in NAMES]


def schema(definition: JsonObject) -> JsonObject:
    """What objects of the version v0 look like; empty where there is no such version."""
    versions: list[JsonObject] = definition.get("spec", {}).get("versions", [])
    found: JsonObject = next((one for one in versions if one.get("name") == "v0"), {})
    return cast(JsonObject, found.get("schema", {}).get("openAPIV3Schema", {}))

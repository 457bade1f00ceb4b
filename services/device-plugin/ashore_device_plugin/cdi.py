"""Files of the Container Device Interface: what a runtime adds to a container that has the device.

One for each instance, written beside its place and then moved there, since runtimes read the folder at any time.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import msgspec

from ashore_device_plugin.giving import Given
from ashore_device_plugin.instances import Instance, Key

VERSION: Final = "0.6.0"
_FILES: Final = "ashore-*.json"
_CLASS: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]")
"""The form of a class: a configuration whose name begins with a digit has none.

One letter would be a class, but containerd 2.3 panics when it reads that, and whenever it starts again.
"""


class CdiFolder:
    """The folder, or none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._written: dict[str, Key] = {}
        """Whose the file is: instances of two namespaces may have one name."""

    def names(self, instance: Instance) -> list[str]:
        """The name of a device for the kubelet, where there is a file for it: no container starts with another."""
        return [instance.cdi_name] if self._written.get(instance.name) == instance.key else []

    def write(self, instance: Instance, given: Given) -> None:
        """Say what belongs to a device; raise OSError."""
        if self._folder is None or not _CLASS.fullmatch(instance.configuration):
            return
        self._written.pop(instance.name, None)
        self._replace(self._folder / _file(instance.name), document(instance, given))
        self._written[instance.name] = instance.key

    def _replace(self, path: Path, said: dict[str, Any]) -> None:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        body = msgspec.json.format(msgspec.json.encode(said), indent=2)
        if path.exists() and path.read_bytes() == body:
            return
        draft = path.with_suffix(".new")
        draft.write_bytes(body)
        draft.replace(path)

    def remove(self, instance: str) -> None:
        """The device is no more; raise OSError."""
        self._written.pop(instance, None)
        if self._folder is not None:
            (self._folder / _file(instance)).unlink(missing_ok=True)

    def clean(self, instances: Collection[str]) -> None:
        """Remove files of an earlier run whose devices went meanwhile; raise OSError."""
        if self._folder is not None:
            wanted = {_file(instance) for instance in instances}
            for path in self._folder.glob(_FILES):
                if path.name not in wanted:
                    path.unlink(missing_ok=True)


def document(instance: Instance, given: Given) -> dict[str, Any]:
    """The file of one device (CDI specification, 0.6.0)."""
    nodes = [
        {"path": one.container_path or one.host_path, "hostPath": one.host_path, "permissions": one.permissions}
        for one in given.device_nodes
    ]
    mounts = [
        {
            "hostPath": one.host_path,
            "containerPath": one.container_path,
            "options": ["rbind", "ro" if one.read_only else "rw"],
        }
        for one in given.mounts
    ]
    env = [f"{name}={value}" for name, value in given.env.items()]
    edits = {"env": env, "deviceNodes": nodes, "mounts": mounts}
    return {
        "cdiVersion": VERSION,
        "kind": f"akri.sh/{instance.configuration}",
        # What is empty would not be valid.
        "devices": [{"name": instance.digest, "containerEdits": {name: part for name, part in edits.items() if part}}],
    }


def _file(instance: str) -> str:
    return f"ashore-{instance}.json"

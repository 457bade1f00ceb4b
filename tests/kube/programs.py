"""A kubelet that runs the program of a pod: as a process, with the pod's environment, volumes and devices.

There is no container: paths below a volume are those of a folder, and only variables are told so. What the device
plugin would add for `akri.sh/<instance>` is computed by the device plugin's own code.
"""

import asyncio
import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ashore_device_plugin.giving import given
from ashore_device_plugin.instances import Instance
from tests.kube import pod_status
from tests.kube.api import Api, Object
from tests.kube.jobs_kit import dated
from tests.kube.kubelet import Kubelets
from tests.kube.logs import Logs

_RESOURCE: Final = "akri.sh/"


class Programs:
    """Runs what pods are for. `claims` are folders, for the claims of that name."""

    def __init__(self, api: Api, nodes: Kubelets, logs: Logs, folder: Path, command: list[str]) -> None:
        self.claims: dict[str, Path] = {}
        self.environment: dict[str, str] = {}
        """What the image of the container sets."""
        self._api, self._nodes, self._logs, self._folder, self._command = api, nodes, logs, folder, command
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Run the programs of all pods that come, for the length of a block."""
        self._nodes.decide = self._begin
        try:
            yield
            for task in self._tasks.values():
                if task.done():
                    task.result()
        finally:
            for task in self._tasks.values():
                task.cancel()

    def _begin(self, pod: Object) -> Object:
        uid = pod["metadata"]["uid"]
        if uid not in self._tasks:
            self._tasks[uid] = asyncio.create_task(self._run(pod))
        return dated(pod, pod_status.running(pod))

    async def _run(self, pod: Object) -> None:
        (container,) = pod["spec"]["containers"]
        folder = self._folder / pod["metadata"]["name"]
        folder.mkdir()
        environment = await self._environment(pod, container, await self._mounts(pod, container, folder))
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command, env=environment, cwd=folder, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        try:
            log, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        metadata = pod["metadata"]
        self._logs.written[f"{metadata['namespace']}/{metadata['name']}/{container['name']}"] = log
        code = process.returncode or 0
        status = pod_status.failed(pod, code) if code else pod_status.succeeded(pod)
        await self._nodes.become(pod, dated(pod, status))

    async def _environment(self, pod: Object, container: Object, mounts: dict[str, Path]) -> dict[str, str]:
        own = {one["name"]: one.get("value", "") for one in container.get("env", [])}
        found = {**await self._devices(pod, container), **own}
        placed = {name: _placed(value, mounts) for name, value in found.items()}
        # What is ours is a path of this machine already.
        return {**self.environment, **placed, "TMPDIR": str(mounts["/tmp"])}

    async def _devices(self, pod: Object, container: Object) -> dict[str, str]:
        wanted = [name for name in container.get("resources", {}).get("limits", {}) if name.startswith(_RESOURCE)]
        place = pod["metadata"]["namespace"]
        found = [
            await self._api.get(f"/apis/akri.sh/v0/namespaces/{place}/instances/{n.removeprefix(_RESOURCE)}")
            for n in wanted
        ]
        return given(_as_the_plugin_sees(one) for one in found).env

    async def _mounts(self, pod: Object, container: Object, folder: Path) -> dict[str, Path]:
        volumes = {one["name"]: await self._volume(pod, one, folder / one["name"]) for one in pod["spec"]["volumes"]}
        return {
            one["mountPath"]: _made(volumes[one["name"]] / one.get("subPath", ""))
            for one in container["volumeMounts"]
            if one["name"] in volumes
        }

    async def _volume(self, pod: Object, volume: Object, folder: Path) -> Path:
        if "persistentVolumeClaim" in volume:
            return self.claims[volume["persistentVolumeClaim"]["claimName"]]
        files: dict[str, str] = {}
        if "secret" in volume:
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/secrets/{volume['secret']['secretName']}"
            files = (await self._api.get(path))["data"]
        return _filled(folder, files)


def _as_the_plugin_sees(instance: Object) -> Instance:
    metadata, spec = instance["metadata"], instance["spec"]
    return Instance(
        namespace=metadata["namespace"],
        configuration=spec["configurationName"],
        name=metadata["name"],
        born=1,
        shared=spec["shared"],
        capacity=spec["capacity"],
        properties=spec["brokerProperties"],
    )


def _placed(value: str, mounts: dict[str, Path]) -> str:
    """A value that is a path below a mount, as a path here."""
    for path, folder in mounts.items():
        if value == path or value.startswith(path + os.sep):
            return f"{folder}{value.removeprefix(path)}"
    return value


def _filled(folder: Path, files: dict[str, str]) -> Path:
    for name, value in files.items():
        (_made(folder) / name).write_bytes(base64.b64decode(value))
    return _made(folder)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder

"""The manifests of deploy/kubernetes, and a real API server to which they have been applied."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import yaml

from ashore_broker_launcher.admission.certificate import WEBHOOKS
from tests.kube.api import Api, Object, until
from tests.kube.control_plane import ControlPlane

FOLDER: Final = Path(__file__).parents[2] / "deploy/kubernetes"
OPTIONAL: Final = FOLDER / "monitoring"
"""What is applied by itself, where its definitions are."""
NAMESPACE: Final = "ashore"
PLACE: Final = "plant"
"""A namespace of people's."""
CLUSTER_WIDE: Final = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", WEBHOOKS.name}


def documents(folder: Path) -> Iterator[Object]:
    """All objects of a kustomization, in its order."""
    for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
        if (folder / name).is_dir():
            yield from documents(folder / name)
        else:
            yield from yaml.safe_load_all((folder / name).read_text())


def path_of(body: Object) -> str:
    """Where an API server has it."""
    group = f"/apis/{body['apiVersion']}" if "/" in body["apiVersion"] else f"/api/{body['apiVersion']}"
    plural = body["kind"].lower().removesuffix("y") + ("ies" if body["kind"].endswith("y") else "s")
    place = "" if body["kind"] in CLUSTER_WIDE else f"/namespaces/{body['metadata']['namespace']}"
    return f"{group}{place}/{plural}/{body['metadata']['name']}"


async def applied(api: Api, body: Object) -> None:
    """Apply it as kubectl does, and take no unknown field."""
    how = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
    await api.patch(path_of(body), body, "apply", **how)


@asynccontextmanager
async def deployed(plane: ControlPlane) -> AsyncIterator[Api]:
    """The admin of a cluster to which everything has been applied, without the webhook: no launcher runs."""
    async with Api(plane.access) as found:
        for body in documents(FOLDER):
            if body["kind"] != WEBHOOKS.name:
                await applied(found, body)
        await applied(found, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE}})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": PLACE}}
        await applied(found, account)
        await until(lambda: found.there(f"/apis/akri.sh/v0/namespaces/{PLACE}/instances"), "akri.sh is served")
        yield found

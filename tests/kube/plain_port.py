"""As much of the launcher's port as admission and installing need, on the API for tests: nothing of it is ours."""

import msgspec

from ashore_broker_launcher.cluster import MANAGER, Conflict, JsonObject, Kind, NotFound, Refused, Unreachable
from tests.kube.api import Api, RefusedError


class PlainPort:
    """See `ashore_broker_launcher.cluster.Cluster`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self, kind: Kind, namespace: str, name: str) -> JsonObject:
        return await self._ask(self._api.get(f"{path(kind, namespace)}/{name}"))

    async def create(self, kind: Kind, body: JsonObject) -> JsonObject:
        return await self._ask(self._api.create(path(kind, body["metadata"].get("namespace", "")), body))

    async def apply(self, kind: Kind, body: JsonObject, *, manager: str = MANAGER) -> JsonObject:
        return await self._ask(self._api.apply(self._of(kind, body), body, manager))

    async def replace(self, kind: Kind, body: JsonObject) -> JsonObject:
        return await self._ask(self._api._ask("PUT", self._of(kind, body), {}, body))

    async def check(self, kind: Kind, body: JsonObject) -> None:
        trial = {"dryRun": "All", "fieldValidation": "Strict"}
        await self._ask(self._api._ask("POST", path(kind, body["metadata"]["namespace"]), trial, body))

    def _of(self, kind: Kind, body: JsonObject) -> str:
        return f"{path(kind, body['metadata'].get('namespace', ''))}/{body['metadata']['name']}"

    async def _ask(self, asking) -> JsonObject:
        try:
            return await asking
        except RefusedError as error:
            said = msgspec.json.decode(str(error).partition(": ")[2])["message"]
            kinds = {404: NotFound, 409: Conflict}
            if error.code in kinds:
                raise kinds[error.code](said) from error
            if error.code >= 500 or error.code == 429:
                raise Unreachable(said) from error
            raise Refused(said, error.code) from error


def path(kind: Kind, namespace: str = "") -> str:
    """Where objects of a kind are."""
    group = f"/apis/{kind.api_version}" if "/" in kind.api_version else f"/api/{kind.api_version}"
    return (
        f"{group}/namespaces/{namespace}/{kind.plural}" if kind.namespaced and namespace else f"{group}/{kind.plural}"
    )

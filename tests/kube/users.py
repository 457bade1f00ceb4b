"""Places and users for tests, on whatever cluster it is: namespaces, and service accounts with what a role allows."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.kube.api import Access, Api, until

_RBAC = "rbac.authorization.k8s.io"


@asynccontextmanager
async def namespace(api: Api) -> AsyncIterator[str]:
    """A namespace in which Pods can be, with or without controllers; what is in it goes with it."""
    name = f"ashore-test-{secrets.token_hex(4)}"
    await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await api.apply(f"/api/v1/namespaces/{name}/serviceaccounts/default", account)
    yield name
    await api.delete(f"/api/v1/namespaces/{name}")


async def account(api: Api, place: str, name: str, *rules: dict[str, Any], everywhere: bool = False) -> Access:
    """The access of a service account with these rules, within its namespace or in all."""
    await api.create(f"/api/v1/namespaces/{place}/serviceaccounts", {"metadata": {"name": name}})
    if rules:
        await _allow(api, place, name, list(rules), everywhere=everywhere)
        await until(lambda: _may(api, place, name, rules[0]), "the rights are known")
    return api.access.as_user(await token(api, place, name))


async def token(api: Api, place: str, name: str) -> str:
    """A token of a service account, as a Pod would have it."""
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await api.create(f"/api/v1/namespaces/{place}/serviceaccounts/{name}/token", wanted)
    return str(answer["status"]["token"])


async def _allow(api: Api, place: str, name: str, rules: list[dict[str, Any]], *, everywhere: bool) -> None:
    cluster = "Cluster" if everywhere else ""
    unique = f"{place}-{name}" if everywhere else name
    path = f"/apis/{_RBAC}/v1" + ("" if everywhere else f"/namespaces/{place}")
    await api.create(f"{path}/{cluster.lower()}roles", {"metadata": {"name": unique}, "rules": rules})
    binding = {
        "metadata": {"name": unique},
        "roleRef": {"apiGroup": _RBAC, "kind": f"{cluster}Role", "name": unique},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place}],
    }
    await api.create(f"{path}/{cluster.lower()}rolebindings", binding)


async def _may(api: Api, place: str, name: str, rule: dict[str, Any]) -> bool:
    wanted = {
        "namespace": place,
        "verb": rule["verbs"][0],
        "group": rule["apiGroups"][0],
        "resource": rule["resources"][0],
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{place}:{name}", "resourceAttributes": wanted},
    }
    answer = await api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])

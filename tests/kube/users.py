"""Users for tests of rights: service accounts, on whatever cluster it is, with what a role allows and nothing else."""

from typing import Any

from tests.kube.api import Access, Api

_RBAC = "rbac.authorization.k8s.io"


async def account(api: Api, namespace: str, name: str, *rules: dict[str, Any], everywhere: bool = False) -> Access:
    """The access of a service account with these rules, within its namespace or in all."""
    await api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
    if rules:
        await _allow(api, namespace, name, list(rules), everywhere=everywhere)
    return api.access.as_user(await token(api, namespace, name))


async def token(api: Api, namespace: str, name: str) -> str:
    """A token of a service account, as a Pod would have it."""
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", wanted)
    return str(answer["status"]["token"])


async def _allow(api: Api, namespace: str, name: str, rules: list[dict[str, Any]], *, everywhere: bool) -> None:
    cluster = "Cluster" if everywhere else ""
    unique = f"{namespace}-{name}" if everywhere else name
    place = f"/apis/{_RBAC}/v1" + ("" if everywhere else f"/namespaces/{namespace}")
    await api.create(f"{place}/{cluster.lower()}roles", {"metadata": {"name": unique}, "rules": rules})
    binding = {
        "metadata": {"name": unique},
        "roleRef": {"apiGroup": _RBAC, "kind": f"{cluster}Role", "name": unique},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    await api.create(f"{place}/{cluster.lower()}rolebindings", binding)

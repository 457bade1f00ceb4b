"""A kind of custom resource for tests: it has a size, which may not be ten or more."""

from tests.kube.api import Api, Object, until

_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}"
_SIZE = {
    "type": "object",
    "properties": {"size": {"type": "integer"}},
    "x-kubernetes-validations": [{"rule": "self.size < 10", "message": "too large"}],
}


async def define(api: Api, *, group: str, kind: str, plural: str) -> None:
    """Define it, and wait until it is served."""
    await api.apply(_PATH.format(plural=plural, group=group), _definition(group, kind, plural))
    await until(lambda: api.there(f"/apis/{group}/v1/{plural}"), f"{kind} is served")


async def undefine(api: Api, group: str, plural: str) -> None:
    """Have no such kind any more."""
    await api.delete(_PATH.format(plural=plural, group=group))


def _definition(group: str, kind: str, plural: str) -> Object:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SIZE}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }

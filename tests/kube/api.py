"""The Kubernetes API for tests, as plain as it gets: a path, a body, an answer. It shares nothing with our adapter."""

import asyncio
import base64
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import msgspec
import yaml

type_of_patch = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
DEADLINE = 60.0
_POLL = 0.05

Object = dict[str, Any]


class Access(NamedTuple):
    """Where an API server is, and as whom one comes: by a token, or by a certificate."""

    url: str
    authority: str
    """PEM."""
    token: str = ""
    certificate: str = ""
    """PEM of certificate and key."""

    def as_user(self, token: str) -> "Access":
        """The same server, for somebody else."""
        return Access(self.url, self.authority, token)

    def verified(self) -> ssl.SSLContext:
        """The settings of TLS."""
        context = ssl.create_default_context(cadata=self.authority or None)
        if self.certificate:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(self.certificate)
                file.flush()
                context.load_cert_chain(file.name)
        return context

    def kubeconfig(self, namespace: str = "default") -> Object:
        """The same as kubectl and its kin read it."""
        user: Object = {"token": self.token}
        if self.certificate:
            pem = _coded(self.certificate)
            user = {"client-certificate-data": pem, "client-key-data": pem}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": self.url, "certificate-authority-data": _coded(self.authority)},
                }
            ],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        }

    def write(self, path: Path, namespace: str = "default") -> Path:
        """Write it as a kubeconfig that only its owner reads."""
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(self.kubeconfig(namespace)))
        return path


def from_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig with a token or a certificate; other ways to come in are not read."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    authority = _text(cluster, "certificate-authority", path.parent)
    certificate = _text(user, "client-certificate", path.parent) + _text(user, "client-key", path.parent)
    token = user.get("token", "") or _text(user, "tokenFile", path.parent).strip()
    assert token or certificate, f"{path}: tests need a token or a client certificate"
    return Access(cluster["server"], authority, token, certificate)


def _named(entries: list[Object], name: str) -> Object:
    return next(entry for entry in entries if entry["name"] == name)


def _text(entry: Object, key: str, folder: Path) -> str:
    if f"{key}-data" in entry:
        return base64.b64decode(entry[f"{key}-data"]).decode()
    return (folder / entry[key]).read_text() if entry.get(key) else ""


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class RefusedError(Exception):
    """The API server said no."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"{code}: {said}")
        self.code = code


class Api:
    """One user's connections: `async with Api(access) as api`."""

    def __init__(self, access: Access) -> None:
        self.access = access
        headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        self._client = httpx.AsyncClient(
            base_url=access.url, verify=access.verified(), headers=headers, timeout=30, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, **params: str) -> Object:
        """One object, or a list of them in `items`."""
        return await self._ask("GET", path, params)

    async def items(self, path: str, **params: str) -> list[Object]:
        """What a list holds."""
        return (await self.get(path, **params))["items"]

    async def create(self, path: str, body: Object) -> Object:
        """POST to a collection."""
        return await self._ask("POST", path, {}, body)

    async def patch(self, path: str, body: Any, kind: str = "merge", **params: str) -> Object:
        """PATCH by `merge`, `json` or `apply`."""
        return await self._ask("PATCH", path, params, body, type_of_patch[kind])

    async def apply(self, path: str, body: Object, manager: str = "test") -> Object:
        """Server-side apply, by force."""
        return await self.patch(path, body, "apply", fieldManager=manager, force="true")

    async def delete(self, path: str, **options: Any) -> Object:
        """DELETE with the options of its body."""
        return await self._ask("DELETE", path, {}, {"kind": "DeleteOptions", "apiVersion": "v1", **options})

    async def there(self, path: str) -> bool:
        """Whether the object is there."""
        try:
            await self.get(path)
        except RefusedError as error:
            if error.code == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    async def lines(self, path: str, **params: str) -> Any:
        """The events of a watch until the server ends it, decoded."""
        async with self._client.stream("GET", path, params={"watch": "true", **params}, timeout=600) as answer:
            if answer.status_code != httpx.codes.OK:
                raise RefusedError(answer.status_code, (await answer.aread()).decode())
            async for line in answer.aiter_lines():
                yield msgspec.json.decode(line)

    async def _ask(
        self, method: str, path: str, params: dict[str, str], body: Any = None, kind: str = "application/json"
    ) -> Object:
        content = None if body is None else msgspec.json.encode(body)
        answer = await self._client.request(
            method, path, params=params, content=content, headers={"Content-Type": kind}
        )
        if answer.is_error:
            raise RefusedError(answer.status_code, answer.text)
        return msgspec.json.decode(answer.content)


async def until(check: Callable[[], Awaitable[Any]], what: str, seconds: float = DEADLINE) -> Any:
    """The first answer that is true; fail where there is none in a long while."""
    try:
        async with asyncio.timeout(seconds):
            # What is awaited happens in another process.
            while not (found := await check()):  # noqa: ASYNC110
                await asyncio.sleep(_POLL)
            return found
    except TimeoutError:
        raise AssertionError(f"not within {seconds:.0f} s: {what}") from None

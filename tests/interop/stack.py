"""A NATS server and the three services as processes, with a factory that sells everything to this one owner."""

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import httpx
import msgspec

from ashore import bundles
from ashore.bus.nats import connect
from ashore.bus.server import EmbeddedServer
from ashore.keys import FileKeyStore, KeyKind
from tests.e2e.processes import Service
from tests.interop.go_servers import free_port

DELAY_SECONDS = 1
"""How long a device waits before it tries again; without it clients wait two minutes."""
_PATIENCE = 30

T = TypeVar("T")


class Stack:
    """`with Stack(folder) as stack`; `host` is how devices are told to call us."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._host = host
        self._resources = ExitStack()
        self._nats = EmbeddedServer(folder / "nats", port=0, monitor_port=0)
        self._services: dict[str, Service] = {}
        self._clients: dict[str, httpx.Client] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._resources.close()

    @property
    def manufacturer(self) -> str:
        """Where DI is done."""
        return self._services["manufacturer"].url

    def log(self, service: str) -> list[dict[str, Any]]:
        """All that a service has logged."""
        return list(self._services[service].lines)

    def call(self, method: str, service: str, path: str, body: object = None) -> Any:
        """One management call; the answer is JSON, or bytes."""
        content = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        answer = self._clients[service].request(
            method, f"/api/v1/{path}", content=content, headers={"Content-Type": kind}
        )
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer.content

    def lead_to_rendezvous(self) -> None:
        """Tell new devices what they usually are told."""
        self._lead(self._services["rendezvous"].url)

    def lead_to_owner(self) -> None:
        """Tell new devices to go to their owner at once."""
        self._lead(self._services["owner"].url, rv_bypass=True)

    def profile(self, name: str, steps: Sequence[object], **more: object) -> None:
        """Keep a profile."""
        self.call("PUT", "owner", f"profiles/{name}", {"name": name, "steps": steps, **more})

    def choose(self, guid: str, profile: str) -> None:
        """Give a device a profile."""
        self.call("PUT", "owner", f"devices/{guid}/profile", {"profile": profile})

    def device(self, guid: str) -> dict[str, Any]:
        """What the owner knows of a device."""
        found: dict[str, Any] = self.call("GET", "owner", f"devices/{guid}")
        return found

    def await_sold(self, guid: str, *, state: str = "registered") -> None:
        """Wait until the owner has the voucher, and has registered it."""
        self.until(lambda: any(one["guid"] == guid for one in self._found(guid, state)), f"{guid} is not {state}")

    def await_onboarded(self, guid: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait until a device has come ashore so often; its ledger, newest first."""
        return self.until(lambda: self._ledger(guid, times), f"{guid} has not been onboarded {times} times")

    def until(self, found: Callable[[], T], otherwise: str) -> T:
        """Ask again and again."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if answer := found():
                return answer
            time.sleep(0.05)
        raise AssertionError(f"{otherwise} after {_PATIENCE} s")

    def _found(self, guid: str, state: str) -> list[dict[str, Any]]:
        page: dict[str, list[dict[str, Any]]] = self.call("GET", "owner", f"devices?search={guid}&state={state}")
        return page["items"]

    def _ledger(self, guid: str, times: int) -> list[dict[str, Any]]:
        ledger: list[dict[str, Any]] = self.device(guid)["onboardings"]
        return ledger if sum(one["result"] == "onboarded" for one in ledger) >= times else []

    def _lead(self, url: str, **more: object) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        address = {"ip": host} if host[:1].isdigit() else {"dns": host}
        directive = {"protocol": "http", "device_port": int(port), "owner_port": int(port), **address, **more}
        self.call("PUT", "manufacturer", "rvinfo", [{**directive, "delay_seconds": DELAY_SECONDS}])

    def _start(self) -> None:
        self._nats.start()
        self._resources.callback(self._nats.stop)
        asyncio.run(self._declare())
        self._launch("rendezvous", trusted_keys=self._bundle("manufacturer"))
        port = free_port()
        self._launch("owner", port=port, advertise=f"http://{self._host}:{port}")
        self._launch("manufacturer", sell_to=self._bundle("owner"))
        self.lead_to_rendezvous()

    async def _declare(self) -> None:
        admin = await connect(self._nats.url, name="admin", seed_file=str(self._nats.seed_file("admin")))
        await admin.declare()
        await admin.close()

    def _launch(self, name: str, **settings: object) -> None:
        folder = self._folder / name
        service = Service(
            f"ashore_{name}",
            data_dir=folder,
            nats_url=self._nats.url,
            nats_seed_file=self._nats.seed_file(name),
            rate_limit=0,
            **settings,
        )
        self._services[name] = self._resources.enter_context(service)
        service.url = service.url.replace("127.0.0.1", self._host)
        token = (folder / "admin-token").read_text().strip()
        client = httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        self._clients[name] = self._resources.enter_context(client)

    def _bundle(self, role: str) -> Path:
        """The public keys of a role, made before its service first starts."""
        keys = FileKeyStore(self._folder / role / "keys")
        path = self._folder / f"{role}.pem"
        path.write_text("".join(bundles.to_pem(keys.signer(role, kind).public_key) for kind in get_args(KeyKind)))
        return path


def voucher_of(event: dict[str, str]) -> bytes:
    """The voucher in an event."""
    return base64.b64decode(event["voucher"])

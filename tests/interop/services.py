"""The whole stack as processes, for tests that wait for foreign programs: no event loop, only calls that block.

The factory sells everything to this one owner.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import msgspec
from anyio.from_thread import start_blocking_portal

from ashore_cli.stack import Ports, Stack

DELAY_SECONDS = 1
"""How long a device waits before it tries again; without it clients wait two minutes."""
_PATIENCE = 30

T = TypeVar("T")


class Services:
    """`with Services(folder) as services`; `host` is how devices are told to call us."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._host = host
        self._ports = Ports.free()
        settings = {"owner": {"ASHORE_ADVERTISE": self._url("owner")}}
        self._stack = Stack(folder, ports=self._ports, settings=settings)
        self._resources = ExitStack()
        self._http = httpx.Client(trust_env=False)

    def __enter__(self) -> Self:
        try:
            portal = self._resources.enter_context(start_blocking_portal())
            self._resources.enter_context(portal.wrap_async_context_manager(self._stack))
            self._resources.callback(self._http.close)
            self._http.headers["Authorization"] = f"Bearer {self._stack.layout.token.read_text().strip()}"
            self.lead_to_rendezvous()
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._resources.close()

    @property
    def manufacturer(self) -> str:
        """Where DI is done."""
        return self._url("manufacturer")

    def log(self, service: str) -> str:
        """All that a service has logged."""
        return self._stack.layout.log(service).read_text()

    def call(self, method: str, service: str, path: str, body: object = None) -> Any:
        """One management call; the answer is JSON, or bytes."""
        content = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        url = f"http://127.0.0.1:{self._ports.of(service)}/api/v1/{path}"
        answer = self._http.request(method, url, content=content, headers={"Content-Type": kind})
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return (
            answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer.content
        )

    def lead_to_rendezvous(self) -> None:
        """Tell new devices what they usually are told."""
        self._lead("rendezvous")

    def lead_to_owner(self) -> None:
        """Tell new devices to go to their owner at once."""
        self._lead("owner", rv_bypass=True)

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
        """Wait until a device has come ashore so often; those onboardings, newest first."""
        return self.until(lambda: self._onboardings(guid, times), f"{guid} has not been onboarded {times} times")

    def resell(self, guid: str) -> None:
        """Sell a device that came ashore to the same owner, who forgets that it ever had it, and registers it anew."""
        keys = self._stack.layout.bundle("owner").read_text()
        extended = self.call("POST", "owner", f"vouchers/{guid}/extend", {"owner_key": keys})
        self.call("DELETE", "owner", f"vouchers/{guid}")
        report = self.call("POST", "owner", "vouchers", extended)
        assert [one["verdict"] for one in report["items"]] == ["imported"], report
        self.await_sold(guid)

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

    def _onboardings(self, guid: str, times: int) -> list[dict[str, Any]]:
        # Attempts that failed are left out: each 256th of the C client does, for a zero byte that it drops.
        found = [one for one in self.device(guid)["onboardings"] if one["result"] == "onboarded"]
        return found if len(found) >= times else []

    def _lead(self, service: str, **more: object) -> None:
        port = self._ports.of(service)
        address = {"ip": self._host} if self._host[0].isdigit() else {"dns": self._host}
        directive = {"protocol": "http", "device_port": port, "owner_port": port, "delay_seconds": DELAY_SECONDS}
        self.call("PUT", "manufacturer", "rvinfo", [{**directive, **address, **more}])

    def _url(self, service: str) -> str:
        return f"http://{self._host}:{self._ports.of(service)}"

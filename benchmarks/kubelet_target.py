"""A kubelet in a process of its own, as lean as can be, for `benchmarks/device_plugin.py`.

    python -m benchmarks.kubelet_target FOLDER

It asks back within each registration and listens to each resource, as kubelets do, with bytes that are made once: so it
takes about as little of the machine as a real one, and what is measured is the plugin. It reads numbers from its
standard input, and answers each with a line of JSON: when so many resources had registered, and when it had a list of
each, by time.time().
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, Final

from grpclib.const import Cardinality, Handler
from grpclib.server import Server
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from ashore.grpc import SMALL, Bytes, Messages

_DATA, _SETTINGS, _PING, _ACK = 0, 4, 6, 1
_HEAD: Final = 9
_OPTIONS, _LIST = 1, 3
_WINDOW: Final = 4 * 1024 * 1024
"""A list of thousands of devices is larger than the window of a new connection."""
_REQUEST: Final = Messages("bench", "RegisterRequest version:1:string endpoint:2:string resource_name:3:string")


def opening() -> tuple[bytes, bytes]:
    """What a client says at first, with the question for options; and then, to listen."""
    connection = H2Connection(H2Configuration(client_side=True))
    connection.local_settings = type(connection.local_settings)(
        client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW}
    )
    connection.initiate_connection()
    connection.increment_flow_control_window(_WINDOW)
    ask(connection, _OPTIONS, "GetDevicePluginOptions")
    first = connection.data_to_send()
    ask(connection, _LIST, "ListAndWatch")
    return first, connection.data_to_send()


def ask(connection: H2Connection, stream: int, method: str) -> None:
    """Call a method with an empty message."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/v1beta1.DevicePlugin/{method}",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    connection.send_headers(stream, list(headers.items()))
    connection.send_data(stream, bytes(5), end_stream=True)


_FIRST, _THEN = opening()


class Plugin(asyncio.Protocol):
    """The connection to one resource."""

    def __init__(self, kubelet: "LeanKubelet") -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._kubelet = kubelet
        self._listed = False
        self._read = bytearray()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the options."""
        self._transport = transport
        self._transport.write(_FIRST)

    def listen(self) -> None:
        """Ask for the list."""
        self._transport.write(_THEN)

    def data_received(self, data: bytes) -> None:
        """Read frames (RFC 9113, section 4.1)."""
        self._read += data
        while len(self._read) >= _HEAD:
            end = _HEAD + int.from_bytes(self._read[:3])
            if len(self._read) < end:
                return
            self._frame(self._read[3], self._read[4], int.from_bytes(self._read[5:_HEAD]), bytes(self._read[_HEAD:end]))
            del self._read[:end]

    def _frame(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            answer = body if kind == _PING else b""
            self._transport.write(len(answer).to_bytes(3) + bytes((kind, _ACK, 0, 0, 0, 0)) + answer)
        elif kind == _DATA and stream == _OPTIONS and body and not self.answered.done():
            self.answered.set_result(None)
        elif kind == _DATA and stream == _LIST and body and not self._listed:
            self._listed = True
            self._kubelet.listed += 1
            self._kubelet.news.set()


class LeanKubelet:
    """Takes registrations."""

    def __init__(self, folder: Path) -> None:
        self.registered = self.listed = 0
        self.news = asyncio.Event()
        self._folder = folder

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib serves."""
        return {"/v1beta1.Registration/Register": Handler(self.register, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def register(self, call: Any) -> None:
        """Ask back, answer, and then listen."""
        request = _REQUEST.read("RegisterRequest", await call.recv_message())
        path = str(self._folder / request.endpoint)
        _, plugin = await asyncio.get_running_loop().create_unix_connection(lambda: Plugin(self), path)
        await plugin.answered
        await call.send_message(b"")
        self.registered += 1
        self.news.set()
        plugin.listen()

    async def until(self, wanted: int, *, listed: bool) -> float:
        """When it knew so many."""
        while (self.listed if listed else self.registered) < wanted:
            self.news.clear()
            await self.news.wait()
        return time.time()


async def main(root: Path) -> None:
    """Answer until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    folder = root / "device-plugins"
    folder.mkdir()
    kubelet = LeanKubelet(folder)
    server = Server([kubelet], codec=Bytes(), config=SMALL)
    await server.start(path=str(folder / "kubelet.sock"))
    print("ready", flush=True)
    while text := await asyncio.to_thread(sys.stdin.readline):
        wanted = int(text)
        registered = await kubelet.until(wanted, listed=False)
        print(json.dumps({"registered": registered, "listed": await kubelet.until(wanted, listed=True)}), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

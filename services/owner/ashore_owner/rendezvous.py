"""One rendezvous, as TO0 asks it: two messages over one connection, within bounds, and only where this service may go.

The URL stands in a voucher, which may be anybody's. So each address of its host is judged (`networks`) and the
connection goes to an address that was judged, whatever the name means a moment later; a redirect is an answer like any
other wrong one; and who answers without end is given up. Proxies of the environment are not used.

It blocks: use it in a thread. The standard library's client does what is needed here in a tenth of the memory of the
asynchronous ones.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from ashore.fdo.codec import Message
from ashore.fdo.errors import AddressError, FdoError, PeerError
from ashore.fdo.messages import ErrorMessage
from ashore.tls import client_context
from ashore_owner.networks import Contacts, off_limits

_IDLE_SECONDS: Final = 20.0
_MAX_ANSWER: Final = 65_535

M = TypeVar("M", bound=Message)


class Rendezvous:
    """One connection to a rendezvous, kept for both messages."""

    def __init__(self, url: str, contacts: Contacts, tls: ssl.SSLContext | None = None) -> None:
        self.url = url
        self._contacts = contacts
        self._tls = tls
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._given_up = False
        self._connection: _Connection | None = None
        self._headers = {"content-type": "application/cbor"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._connection is not None:
            self._connection.close()
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def give_up(self) -> None:
        """End it from another thread: whoever waits for an answer gets none."""
        with self._lock:
            self._given_up = True
            if self._handle is not None:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def say(self, message: Message, answer: type[M]) -> M:
        """Send one message; raise FdoError for anything but the answer to it, AddressError where none may be sent."""
        try:
            response, body = self._exchange(message)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # ValueError: the voucher names a host that cannot be one.
            why = "it took too long" if self._given_up else _why(error)
            raise FdoError(f"the rendezvous at {self.url} cannot be reached: {why}") from error
        kind = response.headers.get("message-type", "")
        if kind == str(ErrorMessage.number):
            told = ErrorMessage.decode(body)
            raise PeerError(told.code, message.number, told.text[:500])
        if kind != str(answer.number):
            raise FdoError(
                f"the rendezvous at {self.url} answered HTTP {response.status}, message type {kind or 'none'}"
            )
        if token := response.headers.get("authorization"):
            self._headers["authorization"] = token
        return answer.decode(body)

    def _exchange(self, message: Message) -> tuple[http.client.HTTPResponse, bytes]:
        if self._connection is None:
            self._connection = self._prepare()
        self._connection.request("POST", f"/fdo/101/msg/{message.number}", message.encode(), self._headers)
        response = self._connection.getresponse()
        return response, response.read(_MAX_ANSWER)

    def _prepare(self) -> "_Connection":
        parts = urlsplit(self.url)
        context = (self._tls or client_context()) if parts.scheme == "https" else None
        return _Connection(parts.hostname or "", parts.port, self, context)

    def reach(self, host: str, port: int) -> socket.socket:
        """Connect to the first address that is allowed and answers; raise OSError or AddressError."""
        failure = OSError("it has no address")
        for family, kind, protocol, _, address in self._addresses(host, port):
            opened = socket.socket(family, kind, protocol)
            try:
                self._hold(opened)
                opened.settimeout(_IDLE_SECONDS)
                # Head and body are two writes, and the second would wait until the first is acknowledged.
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opened.connect(address)
            except OSError as error:
                opened.close()
                failure = error
            else:
                return opened
        raise failure

    def _hold(self, opened: socket.socket) -> None:
        """Keep a handle of our own: TLS takes the other one away."""
        with self._lock:
            if self._given_up:
                raise TimeoutError
            if self._handle is not None:
                self._handle.close()
            self._handle = opened.dup()

    def _addresses(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """What may be connected to; raise AddressError where that is nothing."""
        if not self._contacts.look_up(host):
            raise self._refused(host)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        sensible = [info for info in found if off_limits(str(info[4][0])) is None]
        if not sensible:
            where = str(found[0][4][0])
            raise AddressError(
                f"the rendezvous at {self.url} is not contacted: {where} is {off_limits(where)}, and no rendezvous is "
                "there. Have the device initialised anew, with other rendezvous info"
            )
        allowed = [info for info in sensible if self._contacts.allow(host, str(info[4][0]))]
        if not allowed:
            raise self._refused(" at ".join(dict.fromkeys((host, str(sensible[0][4][0])))))
        return allowed

    def _refused(self, what: str) -> AddressError:
        return AddressError(
            f"the rendezvous at {self.url} is not contacted: ASHORE_RENDEZVOUS_HOSTS does not have {what}. If it is "
            "one to be trusted, add it there and restart this service"
        )


class _Connection(http.client.HTTPConnection):
    """HTTP over what `Rendezvous.reach` connects to."""

    def __init__(self, host: str, port: int | None, rendezvous: Rendezvous, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port)
        self._rendezvous = rendezvous
        self._tls = tls

    def connect(self) -> None:
        """See HTTPConnection, which calls it."""
        self.sock = self._rendezvous.reach(self.host, self.port)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__

"""One question to the kubelet, with limits for its answer."""

import asyncio
from pathlib import Path
from typing import Final

from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.exceptions import GRPCError

from ashore.grpc import Bytes, CallError, plain, receive

SECONDS: Final = 10.0


class Line(Channel):
    """A connection to one socket of the kubelet."""

    def __init__(self, path: Path) -> None:
        super().__init__(path=str(path), codec=Bytes())
        # What grpclib makes of a path is a host and a port that nobody has asked for.
        self._authority = "localhost"


async def ask(line: Line, method: str, body: bytes, *, largest: int, seconds: float = SECONDS) -> bytes:
    """The answer; raise CallError where there is none, for whatever reason."""
    asked: UnaryUnaryMethod[bytes, bytes] = UnaryUnaryMethod(line, method, bytes, bytes)
    try:
        async with asyncio.timeout(seconds), asked.open() as call:
            await call.send_message(body, end=True)
            await call.recv_initial_metadata()
            # Only the wrapper tells whoever waits that the connection is lost.
            answer = await receive(call._stream, largest, call._wrapper)  # noqa: SLF001 - grpclib itself knows no limit
            await call.recv_trailing_metadata()
    except GRPCError as error:
        raise CallError(plain(f"{error.status.name}: {error.message}")) from error
    except TimeoutError as error:
        raise CallError("it takes too long to answer") from error
    except OSError as error:
        raise CallError(error.strerror or str(error)) from error
    except CallError:
        raise
    except Exception as error:  # whatever h2 and grpclib make of it
        raise CallError(plain(f"{type(error).__name__}: {error}")) from error
    if answer is None:
        raise CallError("it has ended without an answer")
    return answer

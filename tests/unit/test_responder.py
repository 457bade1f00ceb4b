import socket

import pytest

from ashore.responder import Responder


async def test_a_port_that_is_taken_is_told_with_what_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port} .*: set ASHORE_HOST or ASHORE_PORT"):
            await Responder({}).start("127.0.0.1", port)

"""`python -m tests.discovery.opcua_server PORT NAME [LDS_URL]`: asyncua's own server, registered at a discovery server.

It prints `ready` when it listens and, with LDS_URL, is registered. SIGTERM unregisters it; a kill is a crash.
"""

import asyncio
import logging
import signal
import sys
from contextlib import suppress

from asyncua import Server, ua

HOST = "127.0.0.1"


async def main(port: str, name: str, lds: str = "", host: str = HOST) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://{host}:{port}/plant")
    server.set_server_name(name)
    await server.set_application_uri(f"urn:test:{name}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    async with server:
        announce = ua.MdnsDiscoveryConfiguration(MdnsServerName=name, ServerCapabilities=["DA"])
        if lds:
            await server.register_to_discovery(lds, period=0, discovery_configuration=[announce])
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()
        if lds:
            with suppress(Exception):
                await server.unregister_from_discovery(lds, discovery_configuration=[announce])


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main(*sys.argv[1:]))

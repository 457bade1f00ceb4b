"""A Modbus server of pymodbus, which nobody here wrote, in an environment of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.discovery.namespaces import Host, running
from tests.discovery.peers import python_with

SERVER = """
import asyncio, sys
from pymodbus import ModbusDeviceIdentification
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import StartAsyncTcpServer

names = {"VendorName": "Plant Works", "ProductCode": "PW-7", "MajorMinorRevision": "V2.11", "ProductName": "Pump 7"}
device = ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, [17] * 10))
context = ModbusServerContext(devices={int(sys.argv[2]): device}, single=False)
identity = ModbusDeviceIdentification(info_name=names)
asyncio.run(StartAsyncTcpServer(context, identity=identity, address=(sys.argv[1], 502)))
"""


def python() -> Path:
    """The interpreter that has it."""
    return python_with("pymodbus")


@asynccontextmanager
async def serving(host: Host, unit: int = 1) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server on the host, for the length of the block."""
    async with running(await host.start(str(python()), "-c", SERVER, host.address, str(unit))) as process:
        yield process

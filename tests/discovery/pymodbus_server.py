"""A Modbus server of pymodbus, which nobody here wrote, in an environment of its own.

The environment is made once and kept below ASHORE_CACHE (~/.cache/ashore), under a name with the version.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.discovery.namespaces import Host, running

VERSION = "3.16.1"
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
    """The interpreter of the environment, which is made if it is not there; the test is skipped where it cannot be."""
    cache = Path(os.environ.get("ASHORE_CACHE") or Path.home() / ".cache" / "ashore")
    home = cache / f"pymodbus-{VERSION}-{sys.version_info.major}.{sys.version_info.minor}"
    if not (home / "ready").exists():
        try:
            _make(cache, home)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"pymodbus {VERSION} cannot be installed: {error}")
    return home / "bin" / "python"


def _make(cache: Path, home: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        made = Path(folder) / "environment"
        for command in (
            [sys.executable, "-m", "venv", made],
            [made / "bin" / "python", "-m", "pip", "install", "--quiet", f"pymodbus=={VERSION}"],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=100)
        (made / "ready").touch()
        # Another run may have been faster.
        if not home.exists():
            made.rename(home)


@asynccontextmanager
async def serving(host: Host, unit: int = 1) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server on the host, for the length of the block."""
    async with running(await host.start(str(python()), "-c", SERVER, host.address, str(unit))) as process:
        yield process

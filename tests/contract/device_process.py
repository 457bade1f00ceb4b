"""A device as a process that can be killed: it initialises where that is needed, then onboards.

Arguments: its folder, and the base URL of all services.
"""

import asyncio
import sys
from pathlib import Path

from ashore_device.device import Device, Settings
from ashore_device.errors import StateError
from ashore_device.fetching import Fetcher
from ashore_device.initialise import Request
from ashore_device.onboard import Options
from ashore_device.transport import HttpTransport


async def main(folder: Path, url: str) -> None:
    settings = Settings(options=Options(first_delay=0.01, rounds=8, done_pauses=(0.0,)))
    async with HttpTransport() as transport, Fetcher() as fetcher:
        device = Device(folder, transport, fetcher, settings=settings)
        try:
            state = device.show().state
        except StateError:
            state = "initialising"
        if state == "initialising":
            await device.initialise(url, Request(serial="S-9", device_info="process"))
        await device.onboard()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

"""From a device that announces itself over MQTT, or is cut off, to a subscriber of the bus, in milliseconds.

Everything is real: mosquitto, which passes births on and publishes wills, an agent as a process, devices with a
connection of their own. Where a device is cut off, its connection is, so that its will is told at once.
"""

import asyncio
import json
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Final

from paho.mqtt import client as mqtt

from benchmarks.agent_target import AgentTarget, running, token
from benchmarks.ports import free_port

MOSQUITTO: Final = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
_PAUSE_SECONDS: Final = 0.05
_POLL_SECONDS: Final = 0.005
_ANSWER_SECONDS: Final = 20.0


async def announcements(count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of births and of wills, one device after the other."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ashore-bench-") as name:
        configuration = Path(name) / "mosquitto.conf"
        configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
        assert MOSQUITTO is not None
        quiet = asyncio.subprocess.DEVNULL
        broker = await asyncio.create_subprocess_exec(MOSQUITTO, "-c", str(configuration), stdout=quiet, stderr=quiet)
        try:
            settings = {"mqtt": {"brokers": {"default": {"host": "127.0.0.1", "port": port}}}}
            wanted = {"name": "all", "handler": "mqtt", "details": {"own": {}}}
            async with running([wanted], handlers=settings) as target:
                await asyncio.sleep(1)
                found = [await _one(target, port, number) for number in range(count)]
        finally:
            broker.terminate()
            await broker.wait()
    return [born for born, _ in found], [gone for _, gone in found]


async def _one(target: AgentTarget, port: int, number: int) -> tuple[float, float]:
    came, went = target.expect("appeared", number), target.expect("disappeared", number)
    topic, boot = f"ashore/v1/site/{token(number)}", json.dumps({"boot": f"boot-{number}"})
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
    client.will_set(f"{topic}/death", boot, qos=1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            while not client.is_connected():
                await asyncio.sleep(_POLL_SECONDS)
            at = time.time()
            client.publish(f"{topic}/birth", boot)
            born = await came - at
            await asyncio.sleep(_PAUSE_SECONDS)
            connection = client.socket()
            assert connection is not None
            at = time.time()
            connection.shutdown(socket.SHUT_RDWR)
            gone = await went - at
    finally:
        client.loop_stop()
    return born * 1000, gone * 1000

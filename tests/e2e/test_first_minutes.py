"""What a new user does in the first minutes, and what must not be lost when something dies meanwhile."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from ashore.client import ClientError
from ashore.events import DeviceOnboarded, OwnerRegistered, VoucherIssued, open_event
from ashore_cli.local.devices import request
from ashore_cli.stack import AlreadyRunning, Stack
from tests.stack import Running, ashore, free_offset, running, until

pytestmark = pytest.mark.e2e

WAY = ["manufactured", "sold", "owned", "registered", "redirected", "onboarding", "ashore"]


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "data") as stack:
        yield stack


def way(out: str) -> list[str]:
    """The words of the timeline, in order, without what the device itself tells."""
    words = [line.split()[2] for line in out.splitlines() if line.lstrip()[:1].isdigit() and " s  " in line]
    return [word for word in words if word in WAY]


def discovered(out: str) -> list[tuple[str, ...]]:
    """What the demo says of discovered devices: which configuration wants what."""
    lines = out.partition("What the discovery agent of")[2].partition("What a cluster")[0].splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines[2:] if line.startswith("  ")]


def launched(out: str) -> list[tuple[str, ...]]:
    """What the demo says of instances and their pods."""
    lines = out.partition("What a cluster")[2].partition("Try next")[0].splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines[2:] if line.startswith("  ")]


def assert_launched(out: str) -> None:
    """One device became an instance, and a cluster would get a pod for it."""
    [(first, instance), (second, pod)] = launched(out)
    assert (first, second) == ("instance", "pod")
    name = instance.split()[0]
    assert name.startswith("lights-")
    assert pod == f"{name}-pod: busybox:1.37 with akri.sh/{name}=1"


async def seen(stack: Running, name: str, guid: str) -> list[object]:
    """All events of a name about a device, once there is one."""
    found: list[object] = []
    async with stack.bus() as bus, aclosing(bus.follow([f"{name}.{guid}"], replay=True)) as events:
        async with asyncio.timeout(30):
            found.append(open_event((await anext(events))[1]))
        try:
            async with asyncio.timeout(1):
                async for _, envelope in events:
                    found.append(open_event(envelope))
        except TimeoutError:
            pass
    return found


def lives(process: int) -> bool:
    """Whether it still runs. One that has ended stays in the list until its adoptive parent takes note of it."""
    try:
        state = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def registered(stack: Running, guid: str) -> bool:
    try:
        return (await stack.client.owner.device(guid)).registered_until is not None
    except ClientError:
        return False


async def test_the_demo_brings_a_device_ashore_and_its_next_run_another(tmp_path: Path) -> None:
    data, offset = tmp_path / "data", free_offset()

    first = await ashore("demo", "--once", "--port-offset", str(offset), data=data)
    assert (first.code, first.error) == (0, "")
    assert way(first.out) == WAY
    assert "Welcome ashore." in first.out
    assert "demo-0001" in first.out
    assert discovered(first.out)[:2] == [("words", "buoy"), ("words", "lighthouse")]
    assert_launched(first.out)

    second = await ashore("demo", "--once", "--port-offset", str(offset), data=data)
    assert (second.code, second.error) == (0, "")
    assert way(second.out) == WAY
    assert "demo-0002" in second.out
    assert_launched(second.out)

    async with running(data) as stack:
        listed = await ashore("voucher", "list", data=data)
        assert [one["serial"] for one in json.loads(listed.out)] == ["demo-0002", "demo-0001"]
        doctor = await ashore("doctor", data=data)
        assert (doctor.code, doctor.error) == (0, "")
        assert all(finding["ok"] for finding in json.loads(doctor.out))
        assert next(one["text"] for one in json.loads(doctor.out) if one["about"] == "discovery").startswith(
            "the agent"
        )
        found = json.loads((await ashore("discovery", "list", data=data)).out)
        assert {"lighthouse", "buoy"} <= {one["facts"].get("description") for one in found}
        assert {one.state for one in (await stack.client.owner.devices()).items} <= {"onboarded", "registered"}


async def test_the_demo_goes_to_the_stack_that_runs_already(stack: Running) -> None:
    done = await ashore("demo", data=stack.folder)

    assert done.code == 0
    assert way(done.out) == WAY


async def test_a_second_stack_on_the_same_data_is_refused(stack: Running) -> None:
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        async with Stack(stack.folder):
            pass

    done = await ashore("up", data=stack.folder)

    assert done.code == 1
    assert "runs already" in done.error
    assert "to do: " in done.error


async def test_a_killed_owner_comes_back_and_has_lost_nothing(stack: Running) -> None:
    async with stack.virtual() as virtual:
        record = await virtual.device("one").initialise(stack.url("manufacturer"), request("one"))
        await until(lambda: registered(stack, record.guid))
        before = stack.pid("owner")

        os.kill(before, signal.SIGKILL)
        # The device meets nobody at first, and comes again.
        onboarded = await virtual.device("one").onboard()

    assert stack.pid("owner") not in (0, before)
    assert [one.kind for one in stack.happenings if one.part == "owner"] == ["starting", "ready", "stopped", "back"]
    device = await stack.client.owner.device(record.guid)
    assert (device.state, device.replaced_by) == ("onboarded", onboarded.guid)
    assert [event.new_guid for event in await seen(stack, DeviceOnboarded.name, record.guid)] == [onboarded.guid]  # type: ignore[attr-defined]


async def test_everything_speaks_tls_where_it_is_asked_for_and_a_killed_nats_is_found_again(tmp_path: Path) -> None:
    async with running(tmp_path / "data", tls=True) as stack, stack.virtual() as virtual:
        assert {place.url.partition(":")[0] for place in stack.context.services.values()} == {"https"}
        assert stack.context.nats.url.startswith("tls://")
        record = await virtual.device("one").initialise(stack.url("manufacturer"), request("one"))
        # The owner asks the rendezvous over https, too.
        await until(lambda: registered(stack, record.guid))

        os.kill(stack.pid("nats"), signal.SIGKILL)
        onboarded = await virtual.device("one").onboard()

        seen_events = await seen(stack, DeviceOnboarded.name, record.guid)
        assert [event.new_guid for event in seen_events] == [onboarded.guid]  # type: ignore[attr-defined]
        doctor = await ashore("doctor", data=stack.folder)
        assert doctor.code == 0, doctor.out
        told = [finding["text"] for finding in json.loads(doctor.out)]
        assert sum("TLS certificate for 127.0.0.1: 36" in text for text in told) == 5


async def test_without_nats_devices_are_still_made_and_their_events_follow(stack: Running) -> None:
    before = stack.pid("nats")
    # Stopped, so that it neither answers nor is started again.
    os.kill(before, signal.SIGSTOP)
    try:
        async with stack.virtual() as virtual:
            record = await virtual.device("one").initialise(stack.url("manufacturer"), request("one"))
            assert (await stack.client.manufacturer.voucher(record.guid)).state == "extended"
    finally:
        os.kill(before, signal.SIGKILL)

    await until(lambda: registered(stack, record.guid), 60)

    assert stack.pid("nats") != before
    assert len(await seen(stack, VoucherIssued.name, record.guid)) == 1
    assert len(await seen(stack, OwnerRegistered.name, record.guid)) == 1


async def test_a_device_comes_ashore_although_nats_dies_on_its_way(stack: Running) -> None:
    async with stack.virtual() as virtual:
        record = await virtual.device("one").initialise(stack.url("manufacturer"), request("one"))
        await until(lambda: registered(stack, record.guid))

        os.kill(stack.pid("nats"), signal.SIGKILL)
        onboarded = await virtual.device("one").onboard()

    assert [event.new_guid for event in await seen(stack, DeviceOnboarded.name, record.guid)] == [onboarded.guid]  # type: ignore[attr-defined]
    assert (await ashore("doctor", data=stack.folder)).code == 0


async def test_what_a_killed_stack_left_behind_is_stopped_by_the_next(tmp_path: Path) -> None:
    data, offset = tmp_path / "data", str(free_offset())
    up = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ashore_cli",
        "up",
        "--data",
        data,
        "--port-offset",
        offset,
        stdout=asyncio.subprocess.PIPE,
    )
    assert up.stdout is not None
    async with asyncio.timeout(60):
        while b"Everything runs" not in await up.stdout.readline():
            pass
    orphans = [int(path.read_text()) for path in (*data.glob("run/*.pid"), data / "nats" / "nats-server.pid")]
    up.kill()
    await up.wait()
    try:
        assert all(map(lives, orphans))

        done = await ashore("demo", "--once", "--port-offset", offset, data=data)
        alive = [orphan for orphan in orphans if lives(orphan)]
    finally:
        for orphan in orphans:
            with suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)

    assert (done.code, done.error) == (0, "")
    # NATS, four services and the discovery agent.
    assert len(orphans) == 6
    assert alive == []

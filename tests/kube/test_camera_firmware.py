"""The sample of examples/camera-firmware as it is, from cameras that are seen to cameras with another firmware.

Real are the API server, its job controller, the bus, the launcher and the program; cameras are in software, and the
node runs the program as a process.
"""

import datetime as dt
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from ashore.bus.nats import NatsBus
from ashore.events import WorkloadFailed, WorkloadFinished
from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, JOB
from ashore_broker_launcher.reconciling.queue import Item
from tests.e2e.camera_firmware.simulated import Camera, Switches, image_for, running
from tests.kube.api import Api
from tests.kube.jobs_kit import Site, of, site
from tests.kube.programs import Programs
from tests.launcher_kit import Object

# What a Job has said is asked of a kubelet on loopback.
pytestmark = pytest.mark.usefixtures("control_plane")

SAMPLE = Path(__file__).parents[2] / "examples/camera-firmware"
NAME = "camera-firmware"
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
QUICK = {"CAMERA_REBOOT_SECONDS": "5", "CAMERA_SETTLE_SECONDS": "0.3", "CAMERA_POLL_SECONDS": "0.05"}
IMAGE = image_for("M1", "2.0.0")


def hours(begin: float, end: float) -> tuple[str, str]:
    """Hours of a window, in UTC, as far from now."""
    now = dt.datetime.now(dt.UTC)
    return tuple(f"{now + dt.timedelta(hours=one):%H:%M}" for one in (begin, end))  # type: ignore[return-value]


OPEN, CLOSED = hours(-2, 9), hours(6, 8)


class Plant(NamedTuple):
    """Cameras, and a launcher's site that sees them."""

    site: Site
    camera: Callable[..., Camera]
    order: list[tuple[str, str]]
    """What has happened, to which camera."""

    async def see(self, *cameras: Camera) -> None:
        """As the agent's ONVIF handler tells them."""
        world = self.site.world
        await world.live()
        for camera in cameras:
            uuid = f"00000000-0000-0000-0000-{camera.host.rpartition('.')[2]:0>12}"
            said = {"ONVIF_DEVICE_SERVICE_URL": camera.url, "ONVIF_DEVICE_UUID": uuid}
            said["ONVIF_DEVICE_IP_ADDRESS"] = camera.host
            await world.see(f"uuid-{uuid}", shared=True, configurations=(f"{world.namespace}.{NAME}",), properties=said)

    async def apply(self, window: tuple[str, str] = OPEN, own: tuple[str, str] = OPEN, **patches: str) -> None:
        """The sample with what a user changes: version, image and hours; `own` are those of the program."""
        body = yaml.safe_load((SAMPLE / "configuration.yaml").read_text())
        body["metadata"]["namespace"] = self.site.world.namespace
        always = {"days": DAYS, "timeZone": "UTC", "from": window[0], "until": window[1]}
        body["spec"]["rollout"]["maintenanceWindow"] = always
        body["spec"]["brokerProperties"] |= {
            "FIRMWARE_SHA256": hashlib.sha256(IMAGE).hexdigest(),
            "MAINTENANCE_DAYS": ",".join(DAYS),
            "MAINTENANCE_FROM": own[0],
            "MAINTENANCE_UNTIL": own[1],
            "MAINTENANCE_TIME_ZONE": "UTC",
            **QUICK,
            **patches,
        }
        await self.site.world.cluster.apply(CONFIGURATION, body, manager="user")

    async def instance(self, camera: Camera) -> str:
        """The name of a camera's instance."""

        def is_its(one: Object) -> bool:
            return bool(one["spec"]["brokerProperties"]["ONVIF_DEVICE_IP_ADDRESS"] == camera.host)

        found = await self.site.world.until(INSTANCE, lambda found: any(map(is_its, found)))
        return str(next(one["metadata"]["name"] for one in found if is_its(one)))


@pytest.fixture
def camera() -> Iterator[Callable[..., Camera]]:
    """Power a camera with these switches."""
    with ExitStack() as stack:

        def make(version: str = "1.0.0", **switches: Any) -> Camera:
            return stack.enter_context(running(Camera("M1", version, Switches(**switches))))

        yield make


@pytest.fixture
async def plant(
    kube: Api,
    kube_namespace: str,
    controllers: None,
    nats_bus: NatsBus,
    tmp_path: Path,
    camera: Callable[..., Camera],
) -> AsyncIterator[Plant]:
    """Make a plant with a node that runs programs, and what the sample wants to be there."""
    async with site(kube, kube_namespace, nats_bus, tmp_path) as found:
        programs = Programs(kube, found.nodes, found.logs, tmp_path, [sys.executable, "-m", "camera_firmware"])
        programs.environment["PYTHONPATH"] = str(SAMPLE)
        programs.claims[NAME] = tmp_path / "claim"
        (tmp_path / "claim/images").mkdir(parents=True)
        (tmp_path / "claim/images/m1-2.0.0.bin").write_bytes(IMAGE)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "camera-admin"}}
        secret |= {"type": "kubernetes.io/basic-auth", "stringData": {"username": "admin", "password": "correct-horse"}}
        await kube.create(f"/api/v1/namespaces/{kube_namespace}/secrets", secret)
        order: list[tuple[str, str]] = []
        with programs.at_work():
            yield Plant(found, camera, order)


def noted(plant: Plant, camera: Camera) -> Camera:
    """A camera of which is noted when it was first asked, and when it was back."""
    for what in ("GetDeviceInformation", "back"):
        camera.at[what] = lambda what=what: plant.order.append((what, camera.host))
    return camera


def report(instance: Object) -> Object:
    (told,) = instance["status"]["brokers"]
    said: Object = json.loads(told["log"].splitlines()[-1])
    return said


async def test_one_camera_gets_its_firmware_first_and_all_others_after_it(plant: Plant) -> None:
    cameras = [noted(plant, plant.camera()) for _ in range(3)]
    await plant.apply()
    async with plant.site.world.launcher():
        await plant.see(*cameras)
        for camera in cameras:
            found = await plant.site.is_(await plant.instance(camera), "Succeeded")
            assert {key: report(found)[key] for key in ("outcome", "from", "to")} == {
                "outcome": "upgraded",
                "from": "1.0.0",
                "to": "2.0.0",
            }
            assert found["status"]["brokers"][0]["exitCode"] == 0
        await plant.site.world.hear(*["workload-finished"] * 3)
    assert [(camera.version, camera.uploads) for camera in cameras] == [("2.0.0", 1)] * 3
    first = plant.order[0][1]
    assert plant.order[:2] == [("GetDeviceInformation", first), ("back", first)]
    told = [one for one in plant.site.world.told if isinstance(one, WorkloadFinished)]
    assert [json.loads(one.log.splitlines()[-1])["outcome"] for one in told] == ["upgraded"] * 3
    jobs = await plant.site.kube.items(f"/apis/batch/v1/namespaces/{plant.site.world.namespace}/jobs")
    begun = {of(one): one["metadata"]["creationTimestamp"] for one in jobs}
    ended = {of(one): one["status"]["completionTime"] for one in jobs}
    canary = min(ended, key=lambda name: ended[name])
    assert all(ended[canary] <= at for name, at in begun.items() if name != canary)


async def test_a_camera_that_returns_with_its_old_version_stops_the_roll_out(plant: Plant) -> None:
    bad, good, other = plant.camera(returns_with="1.0.0"), plant.camera(), plant.camera()
    await plant.apply()
    async with plant.site.world.launcher():
        await plant.see(bad)
        first = await plant.instance(bad)
        await plant.site.jobs(lambda found: len(found) == 1)
        await plant.see(good, other)
        found = await plant.site.is_(first, "Failed", "exit code 51", "PodFailurePolicy")
        assert (report(found)["outcome"], report(found)["from"], report(found)["to"]) == ("failed", "1.0.0", "1.0.0")
        for camera in (good, other):
            await plant.site.is_(await plant.instance(camera), "Waiting", f"'{first}' has failed")
        await plant.site.told("Waiting", f"'{first}' has failed")
        await plant.site.world.hear("workload-failed")
        await plant.site.stays(JOB, await plant.site.world.objects(JOB))
    (failed,) = [one for one in plant.site.world.told if isinstance(one, WorkloadFailed)]
    assert (failed.instance, failed.exit_code) == (first, 51)
    assert json.loads(failed.log.splitlines()[-1]) == report(found)
    assert bad.uploads == 1
    assert [(camera.version, camera.journal) for camera in (good, other)] == [("1.0.0", [])] * 2


async def test_a_program_that_finds_its_window_closed_runs_again_when_that_opens(plant: Plant) -> None:
    ahead = 0.0
    first, second = plant.camera(), plant.camera()
    await plant.apply(own=CLOSED)
    async with plant.site.world.launcher(clock=lambda: time.time() + ahead) as parts:
        await plant.see(first)
        name = await plant.instance(first)
        found = await plant.site.is_(name, "Waiting", "put itself off until", "the maintenance window opens at")
        assert (report(found)["outcome"], found["status"]["brokers"][0]["exitCode"]) == ("waiting", 11)
        opens = dt.datetime.fromisoformat(report(found)["opens"])
        assert dt.datetime.fromisoformat(found["status"]["brokers"][0]["until"]) == opens
        await plant.see(second)
        await plant.site.is_(await plant.instance(second), "Waiting", f"not yet: '{name}'")
        # For the program, whose clock cannot be turned, the hours are others then; for the launcher it is later.
        await plant.apply()
        ahead = opens.timestamp() - time.time() + 1
        parts.queue.add(Item("instance", (plant.site.world.namespace, name)))
        for camera in (first, second):
            assert report(await plant.site.is_(await plant.instance(camera), "Succeeded"))["outcome"] == "upgraded"
    assert plant.site.world.times("workload-failed") == 0
    assert [camera.version for camera in (first, second)] == ["2.0.0"] * 2


async def test_a_camera_that_has_the_version_already_is_only_asked(plant: Plant) -> None:
    camera = plant.camera("2.0.0")
    await plant.apply()
    async with plant.site.world.launcher():
        await plant.see(camera)
        assert report(await plant.site.is_(await plant.instance(camera), "Succeeded"))["outcome"] == "current"
    assert camera.uploads == 0

"""What the discovery agent is told, beside what every service is told."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ashore.node import NodeSettings
from ashore_discovery.limits import NEARBY, Network


class DiscoverySettings(NodeSettings, frozen=True, kw_only=True):
    """Settings of the discovery agent."""

    service: ClassVar[str] = "discovery"

    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8045
    configurations: Annotated[
        Path | None, Meta(description="File with handlers' settings and configurations, `.yaml` or `.toml`.")
    ] = None
    publish: Annotated[
        Literal["matched", "all"],
        Meta(description="Whether devices that no configuration wants are told to the bus as well."),
    ] = "matched"
    heartbeat_seconds: Annotated[float, Meta(ge=0.05, le=3600, description="How often the agent says it is alive.")] = (
        10
    )
    secrets_dir: Annotated[
        Path | None, Meta(description="Folder that `file:NAME` in handlers' settings and details refers to.")
    ] = None
    networks: Annotated[
        list[str],
        Meta(description="Networks in which devices may be asked, separated by commas; by default private ones."),
    ] = msgspec.field(default_factory=lambda: list(NEARBY))
    questions_per_second: Annotated[
        float, Meta(gt=0, description="How many questions each listener may send to devices in a second.")
    ] = 50
    akri_dir: Annotated[
        Path | None,
        Meta(
            description="Folder that this agent and Akri's discovery handlers share, as `/var/lib/akri`: they register "
            "at `agent-registration.sock` in it. Without it they are not taken. Needs the extra `akri`."
        ),
    ] = None
    memory_limit_mb: Annotated[
        int, Meta(ge=0, description="Above this `/healthz` fails, so that the agent is started anew; 0 is no limit.")
    ] = 512

    def check(self) -> Iterator[str]:
        """What is wrong with fields taken together."""
        yield from super().check()
        if self.akri_dir is not None and importlib.util.find_spec("grpclib") is None:
            yield "ASHORE_AKRI_DIR needs grpclib: install ashore-discovery[akri]"
        for network in self.networks:
            try:
                Network([network])
            except ValueError:
                yield f"ASHORE_NETWORKS has '{network}': expected a network such as 10.0.0.0/8"

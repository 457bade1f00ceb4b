"""What a configuration and the node's file may say of UPnP; pure."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ashore_discovery.handlers.globs import Globs


class SsdpDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration may say. Each list holds patterns, of which one must fit; an empty one asks nothing."""

    search_targets: Annotated[
        Globs, Meta(description="Types of device or service: `urn:schemas-upnp-org:device:MediaServer:*`")
    ] = []
    servers: Annotated[Globs, Meta(description="What the header SERVER says: `*Axis*`")] = []
    manufacturers: Annotated[Globs, Meta(description="The manufacturer in the description")] = []
    models: Annotated[Globs, Meta(description="The name of the model in the description")] = []


class SsdpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    scan_seconds: Annotated[float, Meta(ge=5, description="How often it searches, beside listening")] = 120.0
    answer_seconds: Annotated[int, Meta(ge=1, le=5, description="How many seconds devices may take to answer")] = 1
    check_seconds: Annotated[float, Meta(ge=0.2, description="How often each device is asked whether it lives")] = 1.0
    describe: Annotated[bool, Meta(description="Whether descriptions are fetched from devices")] = True

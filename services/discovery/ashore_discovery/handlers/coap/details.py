"""What a configuration and the node's file may say of CoAP; pure."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ashore_discovery.handlers.globs import Globs


class CoapDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration may say. Each list holds patterns, of which one must fit; an empty one asks nothing."""

    rt: Annotated[Globs, Meta(description="Types of resources: `temperature`, `oic.*`")] = []
    if_: Annotated[Globs, Meta(description="Interface descriptions of resources: `core.s`")] = msgspec.field(
        name="if", default_factory=list
    )
    ct: Annotated[Globs, Meta(description="Formats of contents, by their numbers: `60` is CBOR")] = []
    hosts: Annotated[Globs, Meta(description="Addresses, or names of endpoints in a directory: `10.1.2.*`")] = []


class CoapSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    interfaces: Annotated[Globs, Meta(description="On which all servers are asked; by default all that are up")] = []
    scan_seconds: Annotated[float, Meta(ge=1, description="How often all servers are asked")] = 60.0
    check_seconds: Annotated[
        float, Meta(ge=0.2, description="How often each server is pinged; more seldom spares batteries")
    ] = 1.0
    directories: Annotated[
        list[Annotated[str, Meta(max_length=256)]],
        Meta(max_length=16, description="Resource directories to follow: `coap://10.1.2.3`"),
    ] = []

"""What a configuration and the node's file may say of Modbus; pure."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ashore_discovery.handlers.globs import Globs
from ashore_discovery.handlers.modbus.targets import Target


class ModbusDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration may say. Each list of patterns must fit once; an empty one asks nothing."""

    targets: Annotated[list[Target], Meta(min_length=1, max_length=64, description="What may be asked, and no more")]
    vendors: Annotated[Globs, Meta(description="The vendor's name in the identification: `Schneider*`")] = []
    products: Annotated[Globs, Meta(description="The code or the name of the product, or of its model")] = []
    revisions: Annotated[Globs, Meta(description="The revision: `V2.*`")] = []


class ModbusSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    scan_seconds: Annotated[float, Meta(ge=1, description="How often all addresses are asked")] = 300.0
    check_seconds: Annotated[float, Meta(ge=0.2, description="How often each device found is asked again")] = 1.0
    hints: Annotated[bool, Meta(description="Whether an address that is heard of is asked at once")] = True
    leases: Annotated[
        tuple[Annotated[str, Meta(max_length=4096, pattern="^/[^\\x00]*$")], ...],
        Meta(max_length=8, description="Files of leases of DHCP servers on this node: who gets an address is asked"),
    ] = ()

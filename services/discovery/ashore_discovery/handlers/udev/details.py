"""What a configuration and the node's file may say of the node's own devices."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ashore_discovery.handlers.udev.sources import Choice


class UdevDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What a configuration may say: the same as in Akri."""

    udev_rules: Annotated[
        list[Annotated[str, Meta(max_length=4096)]],
        Meta(min_length=1, max_length=256, description='One of them must hold: `SUBSYSTEM=="tty", ENV{ID_BUS}=="usb"`'),
    ]
    group_recursive: Annotated[
        bool, Meta(description="A device that matches, and all below it that match, are one")
    ] = False
    permissions: Annotated[
        Literal["r", "w", "m", "rw", "rm", "wm", "rwm"], Meta(description="What a broker may do with device nodes")
    ] = "rwm"


class UdevSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    source: Annotated[Choice, Meta(description="Where news comes from; `auto` takes the best that works")] = "auto"
    scan_seconds: Annotated[float, Meta(gt=0, description="How often it looks around although events come")] = 60.0
    poll_seconds: Annotated[float, Meta(gt=0, description="How often it looks around where no events come")] = 2.0

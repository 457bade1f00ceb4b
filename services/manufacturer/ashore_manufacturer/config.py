"""What the manufacturer service is told, beside what every service is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ashore.config import Settings
from ashore_manufacturer.model import UrlError, directives


class ManufacturerSettings(Settings, frozen=True, kw_only=True):
    """Settings of the manufacturer service."""

    service: ClassVar[str] = "manufacturer"

    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8039
    manufacturer_key: Annotated[
        Literal["match", "p256", "p384", "rsa2048", "rsa3072"],
        Meta(
            description="The key in new vouchers: `match` takes one of the device's own kind, "
            "which is what most devices need; all others are for factories that mix strengths."
        ),
    ] = "match"
    rendezvous_urls: Annotated[
        list[str],
        Meta(
            description="Where new devices shall look for their owner, in this order, separated by commas; "
            "it holds until `PUT /api/v1/rvinfo` says otherwise."
        ),
    ] = msgspec.field(default_factory=lambda: ["http://127.0.0.1:8040"])
    sell_to: Annotated[
        Path | None,
        Meta(description="PEM bundle of an owner's public keys: each new voucher is extended to it at once."),
    ] = None
    session_capacity: Annotated[
        int, Meta(ge=1, description="Device initialisations that may be under way at once in one replica.")
    ] = 4096

    def check(self) -> Iterator[str]:
        """What is wrong with fields taken together."""
        yield from super().check()
        try:
            directives(self.rendezvous_urls)
        except UrlError as error:
            yield f"ASHORE_RENDEZVOUS_URLS {error}"

"""What the rendezvous service is told, beside what every service is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from ashore.config import Settings


class RendezvousSettings(Settings, frozen=True, kw_only=True):
    """Settings of the rendezvous service."""

    service: ClassVar[str] = "rendezvous"

    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8040
    trusted_keys: Annotated[
        Path | None,
        Meta(
            description="PEM bundle of manufacturers' or owners' public keys whose devices may be registered from "
            "the start; everybody else needs a rule."
        ),
    ] = None
    min_wait_seconds: Annotated[
        int, Meta(ge=1, le=2**32 - 1, description="The shortest time for which a registration is granted.")
    ] = 60
    max_wait_seconds: Annotated[
        int, Meta(ge=1, le=2**32 - 1, description="The longest time for which a registration is granted.")
    ] = 7 * 24 * 3600

    def check(self) -> Iterator[str]:
        """What is wrong with fields taken together."""
        yield from super().check()
        if self.min_wait_seconds > self.max_wait_seconds:
            yield (
                f"ASHORE_MIN_WAIT_SECONDS is {self.min_wait_seconds}: "
                f"it must not be more than ASHORE_MAX_WAIT_SECONDS, {self.max_wait_seconds}"
            )

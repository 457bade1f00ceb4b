"""What the owner service is told, beside what every service is told."""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from msgspec import Meta, field

from ashore.config import Settings
from ashore.fdo.ciphers import SvkLength
from ashore_owner.downloads import LIMIT
from ashore_owner.networks import PUBLIC, Contacts, Networks


class OwnerSettings(Settings, frozen=True, kw_only=True):
    """Settings of the owner service."""

    service: ClassVar[str] = "owner"

    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8042
    advertise: Annotated[
        list[str],
        Meta(description="URLs under which devices reach this service, in order of preference, separated by commas."),
    ] = field(default_factory=lambda: ["http://127.0.0.1:8042"])
    ca: Annotated[
        str | None,
        Meta(
            description="PEM certificates of authorities that are believed, besides the system's, when a rendezvous is "
            "asked over https."
        ),
    ] = None
    wait_seconds: Annotated[
        int, Meta(ge=60, le=2**32 - 1, description="For how long the rendezvous is asked to keep a registration.")
    ] = 86_400
    to0_parallel: Annotated[int, Meta(ge=1, le=64, description="Registrations that run at the same time.")] = 8
    rendezvous_hosts: Annotated[
        list[str],
        Meta(
            description="Which rendezvous this service may contact, of those that vouchers name: hosts such as "
            "`rv.example.com`, `*.example.com` for any one label in front, and networks such as `10.2.0.0/16`, "
            "separated by commas; by default all. Link-local, multicast, unspecified and reserved addresses, and "
            "metadata services of clouds, are never contacted, whatever name leads there; loopback is, as a rendezvous "
            "may be on this machine."
        ),
    ] = field(default_factory=list)
    svk_length: Annotated[
        SvkLength,
        Meta(
            description="Length of the MAC key in CTR and CBC suites: `go` as go-fdo has it, `java` as pri-fidoiot; "
            "devices of the other kind must use AES-GCM."
        ),
    ] = SvkLength.GO
    session_capacity: Annotated[int, Meta(ge=1, description="Onboardings that one replica holds in memory.")] = 20_000
    session_seconds: Annotated[
        int, Meta(ge=10, le=86_400, description="How long an onboarding may be silent before it is given up.")
    ] = 600
    download_networks: Annotated[
        list[str],
        Meta(
            description="From where this service may fetch files that profiles name by a URL: `public` is the open "
            "internet without loopback, link-local and private addresses; `10.2.0.0/16` and the like, separated by "
            "commas, allow others; `none` allows nothing."
        ),
    ] = field(default_factory=lambda: [PUBLIC])
    download_limit: Annotated[
        int,
        Meta(ge=1, le=1 << 40, description="Longest file that it fetches, bytes; four times as much is kept on disk."),
    ] = LIMIT

    def check(self) -> Iterator[str]:
        """What is wrong with fields taken together."""
        yield from super().check()
        for name in self.download_networks:
            try:
                Networks([name])
            except ValueError:
                yield f"ASHORE_DOWNLOAD_NETWORKS has '{name}': expected public, none, or a network such as 10.2.0.0/16"
        for name in self.rendezvous_hosts:
            try:
                Contacts([name])
            except ValueError:
                yield (
                    f"ASHORE_RENDEZVOUS_HOSTS has '{name}': expected a host name without scheme and port, such as "
                    "rv.example.com or *.example.com, or a network such as 10.2.0.0/16"
                )

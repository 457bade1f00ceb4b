"""What runs on one machine: each service with its module, its port and its settings."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ashore.client.context import LAUNCHER
from ashore_cli.stack.layout import Layout
from ashore_cli.stack.ports import Ports

Settings = Mapping[str, str]
_FOR_ALL: Final = ("ASHORE_LOG_LEVEL", "ASHORE_LOG_FORMAT")
_OUTWARD: Final = ("ASHORE_DOWNLOAD_NETWORKS", "ASHORE_DOWNLOAD_LIMIT", "ASHORE_RENDEZVOUS_HOSTS")


class Place(NamedTuple):
    """Where the stack runs."""

    layout: Layout
    ports: Ports
    address: str
    """Under which devices reach this machine."""
    nats_url: str
    tls: bool = False
    """Whether services and NATS speak TLS."""
    kubernetes: bool = False
    """Whether workloads are started in the cluster that kubectl would use."""

    def url(self, service: str, *, plain: bool = False) -> str:
        """A service's URL."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.tls and not plain else 'http'}://{host}:{self.ports.of(service)}"


class Service(NamedTuple):
    """One service."""

    name: str
    settings: Callable[[Place], Settings]
    is_agent: bool = False
    """An agent works for nobody over HTTP: it only says there how it is, in plain text and to everybody."""
    seals: bool = True
    """Whether it has sessions with devices, whose tokens it seals with a key."""
    adjustable: tuple[str, ...] = ()
    """Settings that it takes from the environment of whoever starts the stack; all others are the stack's."""

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return f"ashore_{self.name.replace('-', '_')}"

    def url(self, place: Place) -> str:
        """Where it listens."""
        return place.url(self.name, plain=self.is_agent)

    def environment(self, place: Place, outer: Mapping[str, str]) -> dict[str, str]:
        """All that stands in its environment; `outer` is that of whoever starts the stack."""
        foreign = {name: value for name, value in outer.items() if not name.startswith("ASHORE_")}
        given = {name: outer[name] for name in (*_FOR_ALL, *self.adjustable) if name in outer}
        return {**foreign, **self._own(place), **given}

    def _own(self, place: Place) -> dict[str, str]:
        common = {
            "ASHORE_DATA_DIR": str(place.layout.path),
            "ASHORE_HOST": place.address,
            "ASHORE_PORT": str(place.ports.of(self.name)),
            "ASHORE_NATS_URL": place.nats_url,
            "ASHORE_NATS_SEED_FILE": str(place.layout.seed(self.name)),
            "ASHORE_LOG_FORMAT": "console",
        }
        if place.address in ("127.0.0.1", "::1"):
            # All virtual devices have one address, and nobody else can reach these ports.
            common["ASHORE_RATE_LIMIT"] = "0"
        if place.tls:
            common |= self._secrecy(place)
        return {**common, **self.settings(place)}

    def _secrecy(self, place: Place) -> dict[str, str]:
        bus = {"ASHORE_NATS_CA_FILE": str(place.layout.authority)}
        if self.is_agent:
            return bus
        certificate = str(place.layout.certificate(self.name))
        return {**bus, "ASHORE_TLS_CERTIFICATE": certificate, "ASHORE_TLS_KEY": certificate}


def _manufacturer(place: Place) -> Settings:
    return {
        "ASHORE_RENDEZVOUS_URLS": place.url("rendezvous"),
        "ASHORE_SELL_TO": str(place.layout.bundle("owner")),
    }


def _rendezvous(place: Place) -> Settings:
    return {"ASHORE_TRUSTED_KEYS": str(place.layout.trusted)}


def _owner(place: Place) -> Settings:
    own = {"ASHORE_ADVERTISE": place.url("owner")}
    return {**own, "ASHORE_CA_FILE": str(place.layout.authority)} if place.tls else own


def _discovery(place: Place) -> Settings:
    return {"ASHORE_CONFIGURATIONS": str(place.layout.look_for)}


def _launcher(place: Place) -> Settings:
    # A kubeconfig on a developer's machine leads to somebody's cluster: that one is touched when it is asked for.
    if place.kubernetes:
        return {"ASHORE_LAUNCHER": "kubernetes"}
    return {"ASHORE_LAUNCHER": "dry-run", "ASHORE_MANIFESTS": str(place.layout.configurations)}


SERVICES: Final = (
    Service("manufacturer", _manufacturer),
    Service("rendezvous", _rendezvous),
    Service("owner", _owner, adjustable=_OUTWARD),
    Service(LAUNCHER, _launcher, seals=False),
)
"""Those with a management API, for which there are tokens and certificates."""
AGENT: Final = Service("discovery", _discovery, is_agent=True)
"""Sees the devices around this machine; it works through the bus alone."""
PROCESSES: Final = (*SERVICES, AGENT)

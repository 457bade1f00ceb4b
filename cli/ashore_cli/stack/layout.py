"""What lies where in the data folder of one machine.

admin-token                the management APIs' token
cli.toml                   where everything is, for the command line
keys/                      private keys of owner and manufacturer, the session key
tls/                       the authority and the servers' certificates, with their private keys
ca.pem                     the authority's certificate: what clients of NATS and the services must trust
owner-keys.pem             the owner's public keys: a buyer for the manufacturer
manufacturer-keys.pem      the manufacturer's public keys
trusted-keys.pem           both, whose devices the rendezvous admits
owner.db, manufacturer.db  the services' databases
look-for.yaml              what the discovery agent looks for; made once, then yours to change
configurations/            what the dry-run launcher starts for which devices; made once, then yours to change
discovery-state.json       what the discovery agent has told the bus
nats/                      the embedded NATS server, with the users' keys in nats/nkeys/
logs/                      one file for each service
devices/                   virtual devices, one folder each
run/                       process ids, and the lock of whoever runs all this
"""

from pathlib import Path
from typing import NamedTuple

from ashore.client.context import FILE

ADMIN_TOKEN = "admin-token"  # noqa: S105 - the name of a file
AUTHORITY = "ca.pem"
LOOK_FOR = "look-for.yaml"
CONFIGURATIONS = "configurations"


class Layout(NamedTuple):
    """One data folder."""

    path: Path

    @property
    def token(self) -> Path:
        """The management APIs' token."""
        return self.path / ADMIN_TOKEN

    @property
    def keys(self) -> Path:
        """Private keys."""
        return self.path / "keys"

    @property
    def tls(self) -> Path:
        """The authority and the servers' certificates."""
        return self.path / "tls"

    @property
    def authority(self) -> Path:
        """The authority's certificate, which clients must trust."""
        return self.path / AUTHORITY

    def certificate(self, server: str) -> Path:
        """Private key and certificate of `nats` or of a service."""
        return self.tls / f"{server}.pem"

    def bundle(self, role: str) -> Path:
        """The public keys of `owner` or `manufacturer`."""
        return self.path / f"{role}-keys.pem"

    @property
    def trusted(self) -> Path:
        """The public keys whose devices the rendezvous admits."""
        return self.path / "trusted-keys.pem"

    @property
    def nats(self) -> Path:
        """The embedded NATS server."""
        return self.path / "nats"

    def seed(self, user: str) -> Path:
        """The NKey seed of a user of the bus."""
        return self.nats / "nkeys" / f"{user}.nk"

    def log(self, name: str) -> Path:
        """What a service has to say."""
        return self.path / "logs" / f"{name}.log"

    @property
    def devices(self) -> Path:
        """Virtual devices."""
        return self.path / "devices"

    @property
    def look_for(self) -> Path:
        """What the discovery agent looks for."""
        return self.path / LOOK_FOR

    @property
    def configurations(self) -> Path:
        """What the dry-run launcher starts for which devices."""
        return self.path / CONFIGURATIONS

    def pid(self, name: str) -> Path:
        """The process id of a service."""
        return self.path / "run" / f"{name}.pid"

    @property
    def lock(self) -> Path:
        """Held by whoever runs all this."""
        return self.path / "run" / "lock"

    @property
    def context(self) -> Path:
        """Where everything is."""
        return self.path / FILE

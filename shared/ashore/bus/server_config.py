"""What the embedded NATS server is told: its listeners, its users and how safely it stores.

The configuration is written as JSON, which the server reads as well as its own format, so nothing needs escaping. What
listens beyond this machine speaks TLS, or there is no configuration for it.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import nkeys

from ashore import files
from ashore.bus import BusError
from ashore.bus.permissions import JSON, USERS, User, mqtt_permissions, permissions
from ashore.tls import is_loopback

# A handshake that takes longer is no client's, and it holds a connection.
_HANDSHAKE_SECONDS = 5


class Unencrypted(BusError):  # noqa: N818 - named by what would happen
    """A server that would speak plain text with other machines."""


class Listeners(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server listens; port 0 means any free one. Monitoring is always on loopback."""

    host: str
    port: int
    monitor_port: int
    mqtt_port: int | None = None
    certificate: Path | None = None
    """Private key and certificate in one PEM file: NATS and MQTT speak TLS, and nothing else."""

    @property
    def scheme(self) -> str:
        """How clients' URLs begin."""
        return "tls" if self.certificate else "nats"


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys of the services' users, by name, and the password of MQTT clients."""

    nkeys: Mapping[str, str]
    mqtt_password: str


def configuration(data_dir: Path, listeners: Listeners, users: Users) -> bytes:
    """Return the server's configuration file; raise Unencrypted where it would listen to others in plain text."""
    if listeners.certificate is None and not is_loopback(listeners.host):
        raise Unencrypted(f"NATS would speak plain text on {listeners.host}: give it a certificate, or use 127.0.0.1")
    config: JSON = {
        # The MQTT listener demands a name, and the same one after each start.
        "server_name": "ashore",
        "host": listeners.host,
        "port": listeners.port or -1,
        "http": f"127.0.0.1:{listeners.monitor_port or -1}",
        "pid_file": str(data_dir / "nats-server.pid"),
        "ports_file_dir": str(data_dir),
        "log_file": str(data_dir / "nats-server.log"),
        "logfile_size_limit": 10 * 1024 * 1024,
        "logfile_max_num": 3,
        # By default up to two minutes of acknowledged messages would be lost with the power.
        "jetstream": {
            "store_dir": str(data_dir / "jetstream"),
            "sync_interval": "always",
            "max_memory_store": 64 * 1024 * 1024,
        },
        "authorization": {"users": _users(users, mqtt=listeners.mqtt_port is not None)},
    }
    secrecy = _tls(listeners.certificate)
    config |= secrecy
    if listeners.mqtt_port is not None:
        config["mqtt"] = {"host": listeners.host, "port": listeners.mqtt_port, **secrecy}
    return msgspec.json.format(msgspec.json.encode(config), indent=2)


def _tls(certificate: Path | None) -> JSON:
    if certificate is None:
        return {}
    tls: JSON = {"cert_file": str(certificate), "key_file": str(certificate), "min_version": "1.2"}
    return {"tls": {**tls, "timeout": _HANDSHAKE_SECONDS}}


def _users(users: Users, *, mqtt: bool) -> list[JSON]:
    known: list[JSON] = [_user(user, users.nkeys[user.name]) for user in USERS]
    if mqtt:
        known.append(
            {
                "user": "mqtt",
                "password": users.mqtt_password,
                "permissions": mqtt_permissions(),
                "allowed_connection_types": ["MQTT"],
            }
        )
    return known


def _user(user: User, nkey: str) -> JSON:
    # No service speaks MQTT or comes from a web page, so its key opens no such connection.
    return {"nkey": nkey, "permissions": permissions(user), "allowed_connection_types": ["STANDARD"]}


def prepare_users(data_dir: Path) -> Users:
    """Make an NKey for each user that has none yet, below `nkeys/`, and a password for MQTT clients."""
    folder = files.private_directory(data_dir / "nkeys")
    keys = {user.name: _public_key(_kept(folder / f"{user.name}.nk", _new_seed)) for user in USERS}
    return Users(nkeys=keys, mqtt_password=_kept(folder / "mqtt.password", secrets.token_urlsafe))


def _kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        files.create_private(path, make().encode())
    return path.read_text().strip()


def _new_seed() -> str:
    return str(nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER), "ascii")  # type: ignore[no-untyped-call]


def _public_key(seed: str) -> str:
    return str(nkeys.from_seed(bytearray(seed.encode())).public_key, "ascii")  # type: ignore[no-untyped-call]

"""Makes what must exist before anything starts: keys, public bundles, users of the bus, certificates, the admin token.

Everything is made once and then kept, so preparing again is cheap and changes nothing, except that servers'
certificates are renewed in time. The public bundles follow the private keys: an operator may put own keys into `keys/`.
"""

import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ashore import bundles, files
from ashore.bus.server_config import Listeners, configuration, prepare_users
from ashore.client.context import LAUNCHER
from ashore.keys import KINDS, FileKeyStore
from ashore.server_certificates import ServerCertificates
from ashore_cli.stack.layout import ADMIN_TOKEN, AUTHORITY, CONFIGURATIONS, LOOK_FOR, Layout
from ashore_cli.stack.looking import look_for, start_for
from ashore_cli.stack.services import AGENT, SERVICES

ROLES: Final = ("manufacturer", "owner")
_PUBLIC_MODE: Final = 0o644
_CONTAINER_DATA: Final = Path("/data")
CERTIFICATE: Final = "tls.pem"
_MQTT: Final = 8883

Told = Callable[[str], None]


def prepare(layout: Layout, told: Told, hosts: Iterable[str] = ()) -> None:
    """Make what is missing; `told` hears of what takes its time. Raise FilesError, KeysError or CertificateError.

    `hosts` are names and addresses under which servers are found, beside those of this very machine.
    """
    files.private_directory(layout.path)
    for folder in (layout.lock.parent, layout.log("x").parent, layout.devices):
        files.private_directory(folder)
    keys = FileKeyStore(layout.keys)
    texts = [_bundle(keys, layout, role, told) for role in ROLES]
    _publish(layout.trusted, "".join(texts))
    keys.session_key()
    prepare_users(layout.nats)
    _certify(layout, hosts)
    files.read_or_create(layout.token, _new_token)
    look_for(layout.look_for)
    start_for(layout.configurations)


def separate(layout: Layout, target: Path) -> list[Path]:
    """Give each service a folder of its own below `target`, with the secrets that it needs and no others.

    For containers: each folder is mounted as `/data`, and `public` beside it as `/public`. What is
    in a folder already stays, but for renewed certificates and the configuration of NATS. The layout must be prepared.
    The answer is the folders.
    """
    people = files.private_directory(target / "cli")
    for service in SERVICES:
        folder = files.private_directory(target / service.name)
        # Each has its own, so that who reads one service's opens no other.
        token = files.read_or_create(folder / ADMIN_TOKEN, _new_token)
        _keep(token, people / _token_file(service.name))
        _copy(layout.seed(service.name), folder / "nats.seed")
        _hand_out(layout, service.name, folder)
        if service.seals:
            files.private_directory(folder / "keys")
            # Each has its own, so that who reads one service's cannot seal tokens of another.
            FileKeyStore(folder / "keys").session_key()
        for path in sorted(layout.keys.glob("*-*.*")):
            if service.name in ROLES and path.name.startswith(_prefixes(service.name)):
                _copy(path, folder / "keys" / path.name)
    start_for(target / LAUNCHER / CONFIGURATIONS)
    _separate_agent(layout, target)
    _separate_bus(layout, target)
    return sorted(path for path in target.iterdir() if path.is_dir())


def _separate_agent(layout: Layout, target: Path) -> None:
    """An agent stands at the edge, where others reach it first: it has its user of the bus, and not one secret more."""
    folder = files.private_directory(target / AGENT.name)
    _copy(layout.seed(AGENT.name), folder / "nats.seed")
    _publish(folder / AUTHORITY, layout.authority.read_text())
    look_for(folder / LOOK_FOR)


def _separate_bus(layout: Layout, target: Path) -> None:
    """The NATS server knows only public keys. The streams' admin has a folder apart: devices run beside `cli`."""
    names = ("nats", "streams", "cli", "public")
    server, streams, people, public = (files.private_directory(target / name) for name in names)
    certificate = _CONTAINER_DATA / CERTIFICATE
    listeners = Listeners(host="0.0.0.0", port=4222, monitor_port=8222, mqtt_port=_MQTT, certificate=certificate)
    config = configuration(_CONTAINER_DATA, listeners, prepare_users(layout.nats))
    # An older release left one here that knows no TLS.
    files.replace_private(server / "nats-server.conf", config)
    _hand_out(layout, "nats", server)
    _copy(layout.seed("admin"), streams / "admin.nk")
    _copy(layout.seed("cli"), people / "cli.nk")
    # An older release put it there, where every virtual device could read it.
    (people / "admin.nk").unlink(missing_ok=True)
    public.chmod(0o755)
    for path in (*map(layout.bundle, ROLES), layout.trusted, layout.authority):
        _publish(public / path.name, path.read_text())
    for folder in (streams, people):
        _publish(folder / AUTHORITY, layout.authority.read_text())


def _certify(layout: Layout, hosts: Iterable[str]) -> None:
    """The authority, once; for NATS and each service a certificate, renewed in time."""
    kept = ServerCertificates(layout.tls)
    _publish(layout.authority, kept.authority)
    names = list(hosts)
    for server in ("nats", *(service.name for service in SERVICES)):
        kept.keep(server, names)


def _hand_out(layout: Layout, server: str, folder: Path) -> None:
    """What a server needs to speak TLS, and to believe the others; a renewed certificate replaces the old one."""
    files.replace_private(folder / CERTIFICATE, layout.certificate(server).read_bytes())
    _publish(folder / AUTHORITY, layout.authority.read_text())


def _token_file(service: str) -> str:
    return f"{service}-token"


def _new_token() -> bytes:
    return secrets.token_urlsafe(32).encode() + b"\n"


def _prefixes(role: str) -> tuple[str, ...]:
    return (f"{role}-", "device-ca-") if role == "manufacturer" else (f"{role}-",)


def _bundle(keys: FileKeyStore, layout: Layout, role: str, told: Told) -> str:
    told(f"the {role}'s keys")
    text = "".join(bundles.to_pem(keys.signer(role, kind).public_key) for kind in KINDS)
    _publish(layout.bundle(role), text)
    return text


def _publish(path: Path, text: str) -> None:
    """Write a file that anybody may read, unless it says so already."""
    if path.exists() and path.read_text() == text:
        return
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(_PUBLIC_MODE)
    draft.replace(path)


def _keep(content: bytes, target: Path) -> None:
    """Write a secret in place of the one before: an operator may have given a service another token."""
    if not target.exists() or target.read_bytes() != content:
        draft = target.with_suffix(".new")
        draft.unlink(missing_ok=True)
        files.create_private(draft, content)
        draft.replace(target)


def _copy(source: Path, target: Path) -> None:
    """Copy a secret, unless there is one already."""
    if not target.exists():
        files.create_private(target, source.read_bytes())
        shutil.copystat(source, target)

"""Makes what must exist before anything starts: keys, public bundles, users of the bus, the admin token.

Everything is made once and then kept, so preparing again is cheap and changes nothing. The public bundles follow the
private keys: an operator may put own keys into `keys/`.
"""

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ashore import bundles, files
from ashore.bus.permissions import USERS
from ashore.bus.server_config import Listeners, configuration, prepare_users
from ashore.client.context import FILE as CONTEXT
from ashore.client.context import BusEntry, ContextFile, ServiceEntry, write
from ashore.keys import KINDS, FileKeyStore
from ashore_cli.stack.layout import ADMIN_TOKEN, Layout
from ashore_cli.stack.ports import Ports
from ashore_cli.stack.services import SERVICES

ROLES: Final = ("manufacturer", "owner")
_PUBLIC_MODE: Final = 0o644
_CONTAINER_DATA: Final = Path("/data")

Told = Callable[[str], None]


def prepare(layout: Layout, told: Told) -> None:
    """Make what is missing; `told` hears of each thing that takes its time. Raise FilesError or KeysError."""
    files.private_directory(layout.path)
    for folder in (layout.lock.parent, layout.log("x").parent, layout.devices):
        files.private_directory(folder)
    keys = FileKeyStore(layout.keys)
    texts = [_bundle(keys, layout, role, told) for role in ROLES]
    _publish(layout.trusted, "".join(texts))
    keys.session_key()
    prepare_users(layout.nats)
    files.read_or_create(layout.token, _new_token)


def separate(layout: Layout, target: Path) -> list[Path]:
    """Give each service a folder of its own below `target`, with the secrets that it needs and no others.

    For containers: each folder is mounted as `/data`, and `public` beside it as `/public`. What is
    in a folder already stays. The layout must be prepared. The answer is the folders.
    """
    people = files.private_directory(target / "cli")
    for service in SERVICES:
        folder = files.private_directory(target / service.name)
        # Each has its own, so that who reads one service's opens no other.
        token = files.read_or_create(folder / ADMIN_TOKEN, _new_token)
        _keep(token, people / _token_file(service.name))
        _copy(layout.seed(service.name), folder / "nats.seed")
        files.private_directory(folder / "keys")
        # Each has its own, so that who reads one service's cannot seal tokens of another.
        FileKeyStore(folder / "keys").session_key()
        for path in sorted(layout.keys.glob("*-*.*")):
            if service.name in ROLES and path.name.startswith(_prefixes(service.name)):
                _copy(path, folder / "keys" / path.name)
    _separate_bus(layout, target)
    _tell_people(people)
    return sorted(path for path in target.iterdir() if path.is_dir())


def _separate_bus(layout: Layout, target: Path) -> None:
    """The NATS server knows only public keys; the command line gets its own user, and that of the streams' admin."""
    server, people, public = (files.private_directory(target / name) for name in ("nats", "cli", "public"))
    listeners = Listeners(host="0.0.0.0", port=4222, monitor_port=8222, mqtt_port=1883)
    config = configuration(_CONTAINER_DATA, listeners, prepare_users(layout.nats))
    files.create_private(server / "nats-server.conf", config)
    for user in USERS:
        if user.name in ("admin", "cli"):
            _copy(layout.seed(user.name), people / f"{user.name}.nk")
    public.chmod(0o755)
    for path in (*map(layout.bundle, ROLES), layout.trusted):
        _publish(public / path.name, path.read_text())


def _tell_people(folder: Path) -> None:
    """Where the services are, by the names that containers have for one another, and which token opens which."""
    if (folder / CONTEXT).exists():
        return
    ports = Ports()
    services = {
        service.name: ServiceEntry(
            url=f"http://{service.name}:{ports.of(service.name)}", token_file=_token_file(service.name)
        )
        for service in SERVICES
    }
    nats = BusEntry(url=f"nats://nats:{ports.nats}", seed_file="cli.nk")
    write(folder / CONTEXT, ContextFile(services=services, nats=nats))


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

"""Where the services are, and which tokens open them.

The environment comes first: `ASHORE_OWNER_URL` (and so on for each service), `ASHORE_NATS_URL`, `ASHORE_TOKEN` or
`ASHORE_OWNER_TOKEN`, secrets also as `..._FILE`; `ASHORE_CA_FILE` and `ASHORE_NATS_CA_FILE` name the authorities that
are believed over TLS, the second for the bus alone. What it does not say stands in `cli.toml` of the data folder, which
`ashore up` writes. Without either the services are looked for on this machine, at their usual ports.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from ashore.client.errors import ClientError
from ashore.config import Secret

FILE: Final = "cli.toml"
DATA_DIR: Final = Path(".ashore")
LAUNCHER: Final = "broker-launcher"
DEFAULT_URLS: Final = {
    "manufacturer": "http://127.0.0.1:8039",
    "rendezvous": "http://127.0.0.1:8040",
    "owner": "http://127.0.0.1:8042",
    LAUNCHER: "http://127.0.0.1:8046",
}
DEFAULT_NATS_URL: Final = "nats://127.0.0.1:4222"
_CREDENTIALS: Final = re.compile(r"://[^/@\s,]*@")
_HEAD: Final = (
    "# Written by `ashore up`: it tells the command line where the services are. Paths are relative to here.\n"
)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a service is, and the token for it."""

    url: str
    token: Secret | None = None


class BusPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where NATS is, and the seed of the NKey of the user `cli`."""

    url: str
    seed: Secret | None = None
    ca_file: Path | None = None
    """Authorities in PEM for `tls://`, in place of the system's."""


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One service in `cli.toml`."""

    url: str
    token_file: str = ""


class BusEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """NATS in `cli.toml`."""

    url: str
    seed_file: str = ""


class ContextFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `cli.toml`."""

    services: dict[str, ServiceEntry] = {}
    nats: BusEntry | None = None
    ca_file: str = ""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """All that a client has to know."""

    data_dir: Path
    services: Mapping[str, Place]
    nats: BusPlace
    ca_file: Path | None = None
    """Authorities in PEM for https, in place of the system's."""

    @classmethod
    def load(
        cls, environ: Mapping[str, str], *, data_dir: Path | None = None, urls: Mapping[str, str] | None = None
    ) -> Self:
        """Gather what the environment and the data folder say; given `urls` (by service) stand above both."""
        folder = data_dir or Path(environ.get("ASHORE_DATA_DIR") or DATA_DIR)
        known = read(folder / FILE)
        services = {name: _service(name, environ, urls or {}, known, folder) for name in DEFAULT_URLS}
        name = environ.get("ASHORE_CA_FILE") or known.ca_file
        ca_file = folder / name if name else None
        bus_file = environ.get("ASHORE_NATS_CA_FILE")
        nats = _bus(environ, urls or {}, known, folder)
        return cls(
            data_dir=folder,
            services=services,
            nats=msgspec.structs.replace(nats, ca_file=Path(bus_file) if bus_file else ca_file),
            ca_file=ca_file,
        )


def read(path: Path) -> ContextFile:
    """The file, empty where there is none; raise ClientError where it cannot be used."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=ContextFile)
    except (FileNotFoundError, NotADirectoryError):
        return ContextFile()
    except OSError as error:
        remedy = "run this as the user who ran `ashore up`, or use another folder: --data"
        raise ClientError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ClientError(f"{path} is damaged: {error}", remedy="remove it; `ashore up` writes it anew") from error


def write(path: Path, content: ContextFile) -> None:
    """Replace the file."""
    tables = {f"services.{name}": entry for name, entry in content.services.items()}
    lines = [f"ca_file = {json.dumps(content.ca_file)}\n"] if content.ca_file else []
    for name, entry in {**tables, **({"nats": content.nats} if content.nats else {})}.items():
        values = msgspec.to_builtins(entry)
        # A JSON string is a TOML string as well, as long as no character is escaped as a pair of surrogates.
        text = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
        lines.append(f"\n[{name}]\n{text}")
    draft = path.with_suffix(".new")
    draft.write_text(_HEAD + "".join(lines), encoding="utf-8")
    draft.replace(path)


def variable(service: str) -> str:
    """How the environment variables of a service begin."""
    return f"ASHORE_{service.upper().replace('-', '_')}"


def shown(url: str) -> str:
    """A URL, or several, as people and logs may see it: without the password or token that it may hold."""
    return _CREDENTIALS.sub("://", url)


def _service(name: str, environ: Mapping[str, str], urls: Mapping[str, str], known: ContextFile, folder: Path) -> Place:
    entry = known.services.get(name)
    default = entry.url if entry else DEFAULT_URLS[name]
    url = urls.get(name) or environ.get(f"{variable(name)}_URL") or default
    token = _secret(environ, f"{variable(name)}_TOKEN") or _secret(environ, "ASHORE_TOKEN")
    # A token from the data folder is for that folder's services, and is not shown to a stranger.
    if token is None and entry is not None and entry.token_file and _same(url, entry.url):
        token = _file(folder / entry.token_file)
    return Place(url=url.rstrip("/"), token=token)


def _bus(environ: Mapping[str, str], urls: Mapping[str, str], known: ContextFile, folder: Path) -> BusPlace:
    entry = known.nats
    url = urls.get("nats") or environ.get("ASHORE_NATS_URL") or (entry.url if entry else DEFAULT_NATS_URL)
    seed = _secret(environ, "ASHORE_NATS_SEED")
    if seed is None and entry is not None and entry.seed_file and _same(url, entry.url):
        seed = _file(folder / entry.seed_file)
    return BusPlace(url=url, seed=seed)


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _secret(environ: Mapping[str, str], name: str) -> Secret | None:
    if text := environ.get(name):
        return Secret(text)
    path = environ.get(f"{name}_FILE")
    return _file(Path(path)) if path else None


def _file(path: Path) -> Secret:
    try:
        return Secret(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ClientError(f"the secret in {path} cannot be read: {reason}", remedy="check its path and mode") from error

"""Settings: environment variables read once, checked all together, and told in words.

Each field of a Settings struct is a variable `ASHORE_<FIELD>`; `ASHORE_<FIELD>_FILE` names a file that holds the value
instead, which is how secrets are given. A service adds fields by inheriting. An empty variable counts as unset, since
compose files write those. Everything that is wrong is reported at once, so that one correction is enough. The
reference of the documentation is generated from `describe`.
"""

import difflib
import ipaddress
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from msgspec import inspect as shape

from ashore.tls import is_loopback

PREFIX: Final = "ASHORE_"
_TRUE: Final = ("on", "yes", "true", "1")
_FALSE: Final = ("off", "no", "false", "0")


class SettingsError(Exception):
    """Settings that cannot be used; `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Secret:
    """A text that shows itself only when asked: never in a log, a traceback or a repr."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "(secret)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))


class Description(NamedTuple):
    """One setting, for the generated reference."""

    variable: str
    type: str
    default: str
    description: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service is told; a service inherits, names itself and adds its own."""

    service: ClassVar[str] = "ashore"

    data_dir: Annotated[Path, Meta(description="Folder for keys, tokens and the SQLite database.")] = Path(".ashore")
    host: Annotated[str, Meta(description="Address to listen on.")] = "0.0.0.0"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8080
    database_url: Annotated[
        str,
        Meta(
            description="`sqlite:///<file>` or `postgresql://<user>@<host>/<name>`; "
            "by default a SQLite file named after the service in the data folder."
        ),
    ] = ""
    nats_url: Annotated[
        str, Meta(description="NATS server, or several separated by commas; `tls://` speaks nothing but TLS.")
    ] = "nats://127.0.0.1:4222"
    nats_seed: Annotated[Secret | None, Meta(description="NKey seed of this service's NATS user.")] = None
    nats_ca: Annotated[
        str | None,
        Meta(
            description="PEM certificates of the authorities whose NATS servers are believed, for URLs with `tls://`; "
            "by default the system's."
        ),
    ] = None
    nats_replicas: Annotated[
        int, Meta(ge=1, le=5, description="Copies of each stream that is created; 3 in a cluster of three servers.")
    ] = 1
    admin_token: Annotated[
        Secret | None, Meta(description="Token with every scope; by default made in `<data folder>/admin-token`.")
    ] = None
    tokens: Annotated[
        Secret | None,
        Meta(description="Further tokens, one line each: `name:scope,scope:<SHA-256 of the token, hex>`."),
    ] = None
    auth: Annotated[
        Literal["on", "off"], Meta(description="Whether the management API asks for a token; off is for trials only.")
    ] = "on"
    session_key: Annotated[
        Secret | None,
        Meta(description="64 hex digits, equal on all replicas; by default made in `<data folder>/keys/session.key`."),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important lines to log.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"], Meta(description="`auto` writes for people on a terminal, else JSON.")
    ] = "auto"
    tls_certificate: Annotated[Path | None, Meta(description="PEM certificate chain; turns HTTPS on.")] = None
    tls_key: Annotated[
        Path | None, Meta(description="PEM private key of the certificate; both may be in the same file.")
    ] = None
    rate_limit: Annotated[
        float, Meta(ge=0, description="FDO messages per second and client address; 0 is unlimited.")
    ] = 200.0
    rate_burst: Annotated[int, Meta(ge=1, description="FDO messages a client may send at once before the limit.")] = (
        1000
    )
    trusted_proxies: Annotated[
        list[str], Meta(description="Addresses or networks whose `X-Forwarded-For` is believed, separated by commas.")
    ] = []
    replica: Annotated[
        str,
        Meta(pattern="^[a-z0-9-]{1,32}$", description="Name of this process among its replicas; random by default."),
    ] = msgspec.field(default_factory=lambda: secrets.token_hex(4))
    drain_seconds: Annotated[
        int, Meta(ge=0, le=3600, description="How long a stopping service waits for requests under way.")
    ] = 10

    def __post_init__(self) -> None:
        if not self.database_url:
            msgspec.structs.force_setattr(self, "database_url", f"sqlite:///{self.data_dir / self.service}.db")

    def __repr__(self) -> str:
        # URLs of databases and of NATS may hold passwords.
        return f"<settings of {self.service}>"

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read every field from the environment; raise SettingsError with all that is wrong."""
        problems: list[str] = []
        values: dict[str, Any] = {}
        for field in msgspec.structs.fields(cls):
            try:
                text = _text(environ, variable(field.name))
                if text is not None:
                    values[field.name] = _convert(variable(field.name), text, field.type)
            except SettingsError as error:
                problems += error.problems
        if not problems:
            settings = cls(**values)
            problems = list(settings.check())
        if problems:
            raise SettingsError(problems)
        return settings

    def check(self) -> Iterator[str]:
        """What is wrong with fields taken together; a service that adds checks yields from this first."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            yield "ASHORE_TLS_CERTIFICATE and ASHORE_TLS_KEY belong together: only one of them is set"
        if self.nats_ca is not None and any(not url.strip().startswith("tls://") for url in self.nats_url.split(",")):
            yield "ASHORE_NATS_CA is set, but ASHORE_NATS_URL asks for no TLS: begin each URL with tls://"
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                yield f"ASHORE_TRUSTED_PROXIES has '{network}': expected an address or a network such as 10.0.0.0/8"

    def plain_buses(self) -> list[str]:
        """The hosts of NATS on other machines with which plain text is spoken."""
        parts = (urlsplit(url.strip()) for url in self.nats_url.split(","))
        hosts = (part.hostname or "" for part in parts if part.scheme == "nats")
        return [host for host in hosts if not is_loopback(host)]

    @classmethod
    def warnings(cls, environ: Mapping[str, str]) -> list[str]:
        """A sentence for each `ASHORE_` variable that no field reads, with the nearest that exists."""
        names = [variable(field.name) for field in msgspec.structs.fields(cls)]
        known = {*names, *(f"{name}_FILE" for name in names)}
        unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
        return [_unknown(name, names) for name in unknown]

    @classmethod
    def describe(cls) -> list[Description]:
        """Every setting in order, for the generated reference."""
        return [_describe(field) for field in msgspec.structs.fields(cls)]


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def _unknown(name: str, names: list[str]) -> str:
    nearest = difflib.get_close_matches(name, names, n=1)
    return f"{name} is not a setting of this service" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _text(environ: Mapping[str, str], name: str) -> str | None:
    """The value, or the stripped content of the file that holds it; None where neither is given."""
    text, path = environ.get(name) or None, environ.get(f"{name}_FILE") or None
    if path is None:
        return text
    if text is not None:
        raise SettingsError([f"{name} and {name}_FILE are both set: keep one"])
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError([f"{name}_FILE is '{path}': the file cannot be read ({reason})"]) from error


def _convert(name: str, text: str, kind: object) -> object:
    expected = _plain(shape.type_info(kind))
    value: object = text
    if isinstance(expected, shape.ListType):
        value = [part.strip() for part in text.split(",") if part.strip()]
    elif isinstance(expected, shape.BoolType):
        value = True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    try:
        return cast("object", msgspec.convert(value, kind, strict=False, dec_hook=_construct))
    except msgspec.ValidationError as error:
        shown = "not usable" if _is_secret(expected) else f"'{text}'"
        raise SettingsError([f"{name} is {shown}: expected {_words(expected)}"]) from error


def _construct(kind: type, value: object) -> object:
    return kind(value)


def _plain(kind: shape.Type) -> shape.Type:
    """The type below its metadata, and without `| None`."""
    if isinstance(kind, shape.Metadata):
        return _plain(kind.type)
    if isinstance(kind, shape.UnionType):
        return _plain(next(part for part in kind.types if not isinstance(part, shape.NoneType)))
    return kind


def _is_secret(kind: shape.Type) -> bool:
    return isinstance(kind, shape.CustomType) and kind.cls is Secret


def _words(kind: shape.Type) -> str:
    match kind:
        case shape.IntType():
            return f"a whole number{_bounds(kind)}"
        case shape.FloatType():
            return f"a number{_bounds(kind)}"
        case shape.BoolType():
            return "on or off"
        case shape.LiteralType():
            return "one of " + ", ".join(map(str, kind.values))
        case shape.EnumType():
            return "one of " + ", ".join(str(member.value) for member in kind.cls)
        case shape.ListType():
            return "a list separated by commas"
        case shape.StrType(pattern=str(pattern)):
            return f"a text like {pattern}"
    return "a path" if isinstance(kind, shape.CustomType) and kind.cls is Path else "a text"


def _bounds(kind: shape.IntType | shape.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    if kind.ge is not None:
        return f", at least {kind.ge}"
    return f", at most {kind.le}" if kind.le is not None else ""


def _describe(field: msgspec.structs.FieldInfo) -> Description:
    info = shape.type_info(field.type)
    plain = _plain(info)
    extra = info.extra_json_schema or {} if isinstance(info, shape.Metadata) else {}
    words = "a secret" if _is_secret(plain) else _words(plain)
    return Description(variable(field.name), words, _default(field), str(extra.get("description", "")))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "(required)"
    if field.default is msgspec.NODEFAULT:
        made = cast("object", field.default_factory())
        return "" if isinstance(made, str) else ",".join(map(str, cast("list[object]", made)))
    return "" if field.default is None else str(field.default)

"""Where an API server is, how it proves itself, and as whom the launcher comes.

From a kubeconfig, as kubectl finds it: a file that is named, or those of KUBECONFIG, or `~/.kube/config`; or from what
every Pod is given. Certificates that files hold are read again when the files change.
"""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec
import yaml

from ashore_broker_launcher.cluster import ClusterError, Unreachable
from ashore_broker_launcher.launchers.kubernetes import credentials
from ashore_broker_launcher.launchers.kubernetes.credentials import Credentials

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoClusterError(ClusterError):
    """Nothing says where a cluster is, or what says so cannot be used."""


class Material(NamedTuple):
    """Something in PEM: as text, or in a file that may change."""

    text: str = ""
    path: Path | None = None

    def read(self) -> str:
        """As it is now."""
        return self.path.read_text() if self.path else self.text

    def age(self) -> int:
        """Another number whenever the file is another."""
        return self.path.stat().st_mtime_ns if self.path else 0

    def __bool__(self) -> bool:
        return bool(self.text or self.path)


class Tls:
    """The settings of TLS, made anew when the files behind them have changed."""

    def __init__(self, authority: Material, certificate: Material, key: Material, *, insecure: bool = False) -> None:
        self._authority, self._certificate, self._key = authority, certificate, key
        self._insecure = insecure
        self._made: tuple[tuple[int, ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Raise Unreachable where the files cannot be used now."""
        try:
            ages = tuple(one.age() for one in (self._authority, self._certificate, self._key))
            if self._made is None or self._made[0] != ages:
                self._made = ages, self._make()
            return self._made[1]
        except (OSError, ValueError) as error:
            raise Unreachable(f"the certificates for the API server cannot be used: {error}") from error

    def _make(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._authority.read() or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._certificate:
            # OpenSSL takes a chain with its key only from a file; this one is its maker's alone, and gone at once.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(f"{self._certificate.read()}\n{self._key.read()}\n")
                file.flush()
                context.load_cert_chain(file.name)
        return context


class Access(NamedTuple):
    """All that is needed to ask an API server something."""

    url: SplitResult
    tls: Tls | None
    """None where the API server speaks plain HTTP, as kubectl's proxy does."""
    server_name: str
    credentials: Credentials
    namespace: str = "default"

    @property
    def host(self) -> str:
        """Its name or address."""
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        """Its port."""
        return self.url.port or (80 if self.tls is None else 443)


def _named(field: str) -> str:
    return "tokenFile" if field == "token_file" else field.replace("_", "-")


class _Cluster(msgspec.Struct, rename=_named):
    server: str
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class _Variable(msgspec.Struct):
    name: str
    value: str


class _Exec(msgspec.Struct, rename="camel"):
    command: str
    api_version: str
    args: list[str] | None = None
    env: list[_Variable] | None = None


class _User(msgspec.Struct, rename=_named):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    exec: _Exec | None = None
    auth_provider: object = None


class _Context(msgspec.Struct):
    cluster: str
    user: str = ""
    namespace: str = ""


class _Entry(NamedTuple):
    """A named part of a kubeconfig, and the folder that its paths start from."""

    body: Any
    folder: Path


def find(
    kubeconfig: Path | None = None, environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT
) -> Access:
    """The access that is named, or that of the environment, or that of the Pod; raise NoClusterError."""
    if kubeconfig is not None:
        return from_files([kubeconfig])
    named = [Path(one) for one in environment.get("KUBECONFIG", "").split(os.pathsep) if one]
    if named:
        return from_files(named)
    if environment.get("KUBERNETES_SERVICE_HOST") and (account / "token").exists():
        return from_pod(environment, account)
    usual = Path(environment.get("HOME", "/")) / ".kube" / "config"
    if usual.exists():
        return from_files([usual])
    raise NoClusterError("no cluster is known here: name a kubeconfig by ASHORE_KUBECONFIG or KUBECONFIG")


def from_pod(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access:
    """What every Pod is given."""
    host = environment["KUBERNETES_SERVICE_HOST"]
    host = f"[{host}]" if ":" in host else host
    url = _url(f"https://{host}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}", "the Pod's environment")
    tls = Tls(Material(path=account / "ca.crt"), Material(), Material())
    namespace = account / "namespace"
    told = namespace.read_text().strip() if namespace.exists() else "default"
    return Access(url, tls, url.hostname or "", credentials.TokenFile(account / "token"), told)


def from_files(paths: list[Path]) -> Access:
    """The current context of these kubeconfigs, of which the first has the say; raise NoClusterError."""
    where = " ".join(map(str, paths))
    try:
        current, entries = _merged(paths)
        context = msgspec.convert(entries["contexts", current].body, _Context)
        cluster = entries["clusters", context.cluster]
        user = entries["users", context.user] if context.user else _Entry({}, Path())
        return _access(_convert(cluster, _Cluster), cluster.folder, _convert(user, _User), user.folder, context, where)
    except KeyError as error:
        raise NoClusterError(f"{where} speaks of {error} and does not hold it") from error
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise NoClusterError(f"{where} is no kubeconfig that can be used: {error}") from error


def _convert(entry: _Entry, kind: Callable[..., Any]) -> Any:
    # An entry with nothing in it is null.
    return msgspec.convert(entry.body or {}, kind)


def _merged(paths: list[Path]) -> tuple[str, dict[tuple[str, str], _Entry]]:
    current, entries = "", dict[tuple[str, str], _Entry]()
    for path in (path.expanduser() for path in paths):
        # Of several that KUBECONFIG names some may be missing.
        if len(paths) > 1 and not path.exists():
            continue
        body = yaml.safe_load(path.read_text()) or {}
        current = current or body.get("current-context") or ""
        for part, inner in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            for one in body.get(part) or []:
                entries.setdefault((part, one["name"]), _Entry(one.get(inner), path.parent))
    return current, entries


def _access(
    cluster: _Cluster, cluster_folder: Path, user: _User, user_folder: Path, context: _Context, where: str
) -> Access:
    if cluster.proxy_url:
        raise NoClusterError(f"{where} wants a proxy on the way to the API server; that is not supported")
    url = _url(cluster.server, where)
    tls = Tls(
        _material(cluster.certificate_authority, cluster.certificate_authority_data, cluster_folder),
        _material(user.client_certificate, user.client_certificate_data, user_folder),
        _material(user.client_key, user.client_key_data, user_folder),
        insecure=cluster.insecure_skip_tls_verify,
    )
    return Access(
        url,
        tls if url.scheme == "https" else None,
        cluster.tls_server_name or url.hostname or "",
        _credentials(user, user_folder, where),
        context.namespace or "default",
    )


def _credentials(user: _User, folder: Path, where: str) -> Credentials:
    if user.token_file:
        return credentials.TokenFile(folder / user.token_file)
    if user.token:
        return credentials.by_token(user.token)
    if user.exec is not None:
        return _program(user.exec, folder, where)
    if user.username:
        return credentials.by_password(user.username, user.password)
    if user.auth_provider is not None:
        raise NoClusterError(f"{where} logs in by an auth-provider, which Kubernetes has dropped; use exec")
    return credentials.Fixed()


def _program(wanted: _Exec, folder: Path, where: str) -> Credentials:
    if wanted.api_version not in credentials.EXEC_VERSIONS:
        raise NoClusterError(f"{where} logs in by a program that speaks {wanted.api_version}: use v1")
    # As kubectl does: a path with a slash starts from the kubeconfig, a bare name is looked for.
    command = str(folder / wanted.command) if "/" in wanted.command else wanted.command
    environment = {variable.name: variable.value for variable in wanted.env or []}
    return credentials.Program([command, *(wanted.args or [])], environment, wanted.api_version)


def _material(path: str, data: str, folder: Path) -> Material:
    if data:
        try:
            return Material(text=base64.b64decode(data, validate=True).decode())
        except binascii.Error as error:
            raise ValueError(f"a certificate or key is no base64: {error}") from error
    return Material(path=folder / path) if path else Material()


def _url(text: str, where: str) -> SplitResult:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or url.username:
        raise NoClusterError(f"{where} has no address of an API server, but {text!r}")
    return url

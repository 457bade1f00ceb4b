"""RendezvousInfo: how a device and its owner find each other (FDO 1.1, section 3.7).

On the wire it is a list of directives, each a list of instructions `[variable]` or `[variable, bstr .cbor value]`. It
is part of what the voucher's HMAC covers, so the wire form is kept as it came. `Directive` is the form for people and
REST; `encode` makes the wire form from it.
"""

import ipaddress
import re
from enum import IntEnum
from typing import Annotated, Final, Literal

import msgspec

from ashore import cbor
from ashore.fdo.errors import MessageBodyError

Instruction = Annotated[list[int | bytes], msgspec.Meta(min_length=1, max_length=2)]
RvInfo = list[list[Instruction]]
"""The wire form, decoded."""


class Variable(IntEnum):
    """`RVVariable`."""

    DEV_ONLY = 0
    OWNER_ONLY = 1
    IP_ADDRESS = 2
    DEV_PORT = 3
    OWNER_PORT = 4
    DNS = 5
    SV_CERT_HASH = 6
    CL_CERT_HASH = 7
    USER_INPUT = 8
    WIFI_SSID = 9
    WIFI_PW = 10
    MEDIUM = 11
    PROTOCOL = 12
    DELAY_SEC = 13
    BYPASS = 14
    EXT_RV = 15


_PROTOCOLS: Final = ("rest", "http", "https", "tcp", "tls", "coap+tcp", "coap")
"""`RVProtocolValue`: names by number; not the numbers of RVTO2Addr."""
_PORTS: Final = {"http": 80, "https": 443}

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Directive(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One way to the rendezvous, or past it."""

    dns: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] | None = None
    ip: str | None = None
    protocol: Literal["rest", "http", "https", "tcp", "tls", "coap+tcp", "coap"] | None = None
    medium: Annotated[int, msgspec.Meta(ge=0, le=21)] | None = None
    device_port: Port | None = None
    owner_port: Port | None = None
    wifi_ssid: str | None = None
    wifi_pw: str | None = None
    dev_only: bool = False
    owner_only: bool = False
    rv_bypass: bool = False
    user_input: bool = False
    delay_seconds: Annotated[int, msgspec.Meta(ge=0, le=3600)] | None = None
    """At most an hour: the C client takes no more."""
    sv_cert_hash: Annotated[
        str | None, msgspec.Meta(description="The https server's certificate: hex of a CBOR-encoded Hash of it in DER.")
    ] = None
    cl_cert_hash: Annotated[
        str | None, msgspec.Meta(description="The certificate of an authority above it, in the same form.")
    ] = None
    ext_rv: list[str] | None = None

    def urls(self, *, owner: bool = False) -> list[str]:
        """Base URLs over HTTP, the DNS name first, for a device or for an owner; empty where it leads nowhere.

        That is where it is not meant for them, or has only names and addresses that no host can have.
        """
        if (self.dev_only if owner else self.owner_only) or self.protocol not in _PORTS:
            return []
        port = (self.owner_port if owner else self.device_port) or _PORTS[self.protocol]
        hosts = [host for host in (self.dns, self.ip) if host and _may_be_host(host)]
        return [f"{self.protocol}://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts]


def encode(directives: list[Directive]) -> RvInfo:
    """The wire form; raise MessageBodyError for an address that is none."""
    return [_instructions(directive) for directive in directives]


def decode(info: RvInfo) -> list[Directive]:
    """The form for people; instructions that we do not know are left out, as a device would."""
    return [_directive(instructions) for instructions in info]


def _instructions(directive: Directive) -> list[Instruction]:
    values: list[tuple[Variable, object]] = [
        (Variable.DNS, directive.dns),
        (Variable.IP_ADDRESS, _packed(directive.ip)),
        (Variable.DEV_PORT, directive.device_port),
        (Variable.OWNER_PORT, directive.owner_port),
        (Variable.PROTOCOL, _PROTOCOLS.index(directive.protocol) if directive.protocol else None),
        (Variable.MEDIUM, directive.medium),
        (Variable.WIFI_SSID, directive.wifi_ssid),
        (Variable.WIFI_PW, directive.wifi_pw),
        (Variable.DELAY_SEC, directive.delay_seconds),
        (Variable.EXT_RV, directive.ext_rv),
    ]
    hashes = [(Variable.SV_CERT_HASH, directive.sv_cert_hash), (Variable.CL_CERT_HASH, directive.cl_cert_hash)]
    # A flag has one element: the Go library normalises anything else away, which breaks the voucher's HMAC.
    flags = [
        (Variable.DEV_ONLY, directive.dev_only),
        (Variable.OWNER_ONLY, directive.owner_only),
        (Variable.USER_INPUT, directive.user_input),
        (Variable.BYPASS, directive.rv_bypass),
    ]
    instructions: list[Instruction] = [[int(flag)] for flag, given in flags if given]
    instructions += [[int(variable), cbor.dumps(value)] for variable, value in values if value is not None]
    instructions += [[int(variable), bytes.fromhex(value)] for variable, value in hashes if value is not None]
    return instructions


def _packed(address: str | None) -> bytes | None:
    """4 or 16 bytes. IPv4 is never mapped into 16: the C client refuses that."""
    if address is None:
        return None
    try:
        return ipaddress.ip_address(address).packed
    except ValueError as error:
        raise MessageBodyError(f"{address!r} is no IP address") from error


def unpacked(address: bytes) -> str:
    """Text of a packed address; a v4-mapped one, as the Go library writes it, becomes IPv4."""
    ip = ipaddress.ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)


def _directive(instructions: list[Instruction]) -> Directive:
    """Read what is well formed; a device ignores an instruction that it cannot read (section 3.7)."""
    directive = Directive()
    for variable, *value in instructions:
        try:
            _set(
                directive,
                Variable(int(variable)),
                cbor.loads(value[0]) if value and isinstance(value[0], bytes) else None,
            )
        except (ValueError, TypeError, IndexError):
            continue
    return directive


def _may_be_host(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _is_name(text)
    return not (address.is_unspecified or address.is_multicast or address == _BROADCAST)


def _is_name(text: str) -> bool:
    """Whether DNS can have the name, in the form in which it is asked for."""
    try:
        name = text.encode("idna")
    except ValueError:
        return False
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


_FLAGS: Final = {
    Variable.DEV_ONLY: "dev_only",
    Variable.OWNER_ONLY: "owner_only",
    Variable.USER_INPUT: "user_input",
    Variable.BYPASS: "rv_bypass",
}
_NUMBERS: Final = {
    Variable.DEV_PORT: ("device_port", range(1, 1 << 16)),
    Variable.OWNER_PORT: ("owner_port", range(1, 1 << 16)),
    Variable.MEDIUM: ("medium", range(22)),
    Variable.DELAY_SEC: ("delay_seconds", range(1 << 32)),
}
_HOST: Final = re.compile(r"[^\s\x00-\x20\x7f/?#@:%\\\[\]]+")
"""What cannot be taken for another part of a URL."""
_NAME: Final = re.compile(rb"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_LONGEST_NAME: Final = 254
_BROADCAST: Final = ipaddress.ip_address("255.255.255.255")
_TEXTS: Final = {Variable.DNS: "dns", Variable.WIFI_SSID: "wifi_ssid", Variable.WIFI_PW: "wifi_pw"}
_HASHES: Final = {Variable.SV_CERT_HASH: "sv_cert_hash", Variable.CL_CERT_HASH: "cl_cert_hash"}


def _set(directive: Directive, variable: Variable, value: object) -> None:
    match value:
        case _ if variable in _FLAGS:
            setattr(directive, _FLAGS[variable], True)
        case int() if not isinstance(value, bool):
            _set_number(directive, variable, value)
        case str() if variable in _TEXTS and (variable is not Variable.DNS or _HOST.fullmatch(value)):
            setattr(directive, _TEXTS[variable], value)
        case bytes() if variable is Variable.IP_ADDRESS:
            directive.ip = unpacked(value)
        case list() if variable in _HASHES:
            setattr(directive, _HASHES[variable], cbor.dumps(value).hex())
        case list() if variable is Variable.EXT_RV:
            directive.ext_rv = [str(item) for item in value]


def _set_number(directive: Directive, variable: Variable, value: int) -> None:
    if variable is Variable.PROTOCOL and value >= 0:
        directive.protocol = _PROTOCOLS[value]
    elif variable in _NUMBERS:
        name, lawful = _NUMBERS[variable]
        if value in lawful:
            setattr(directive, name, value)

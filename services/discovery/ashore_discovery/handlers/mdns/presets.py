"""Kinds of devices: the service types that they announce, and what is known of their TXT records.

What a TXT record says of identity is known by service type and not by preset, so that a device is the same one
whichever configuration has asked for it. Adding a kind is adding a line here.
"""

import enum
from typing import Final

import msgspec

from ashore_discovery.model import IdentityKind


class Preset(enum.Enum):
    """Kinds of devices by name, for those who do not know service types by heart."""

    CAMERAS = "cameras"
    """Network cameras: Axis, and whoever announces RTSP, ONVIF or PSIA."""
    OPC_UA = "opc-ua"
    """Servers of OPC UA, as themselves or their local discovery server (LDS-ME) announce them."""
    MATTER = "matter"
    """Matter nodes that have been commissioned."""
    MATTER_COMMISSIONABLE = "matter-commissionable"
    """Matter nodes that wait for a commissioner."""
    ESPHOME = "esphome"
    """Nodes of ESPHome."""
    SHELLY = "shelly"
    """Shelly devices, of the first generation by their name."""
    HOMEKIT = "homekit"
    """Accessories of HomeKit."""
    PRINTERS = "printers"
    """Printers: IPP, LPD and raw sockets."""
    SCANNERS = "scanners"
    """Scanners: eSCL and SANE."""
    CAST = "cast"
    """Google Cast."""
    AIRPLAY = "airplay"
    """AirPlay receivers."""
    MQTT = "mqtt"
    """Brokers of MQTT."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a preset expands into."""

    services: tuple[str, ...]
    names: dict[str, str] = {}
    """By service type: what the name looks like, where the type alone says too little."""


KINDS: Final[dict[Preset, Kind]] = {
    Preset.CAMERAS: Kind(services=("_axis-video._tcp", "_onvif._tcp", "_rtsp._tcp", "_psia._tcp")),
    Preset.OPC_UA: Kind(services=("_opcua-tcp._tcp", "_opcua-tls._tcp", "_opcua-https._tcp")),
    Preset.MATTER: Kind(services=("_matter._tcp",)),
    Preset.MATTER_COMMISSIONABLE: Kind(services=("_matterc._udp",)),
    Preset.ESPHOME: Kind(services=("_esphomelib._tcp",)),
    Preset.SHELLY: Kind(services=("_shelly._tcp", "_http._tcp"), names={"_http._tcp": "shelly*"}),
    Preset.HOMEKIT: Kind(services=("_hap._tcp", "_hap._udp")),
    Preset.PRINTERS: Kind(services=("_ipp._tcp", "_ipps._tcp", "_printer._tcp", "_pdl-datastream._tcp")),
    Preset.SCANNERS: Kind(services=("_uscan._tcp", "_uscans._tcp", "_scanner._tcp")),
    Preset.CAST: Kind(services=("_googlecast._tcp",)),
    Preset.AIRPLAY: Kind(services=("_airplay._tcp",)),
    Preset.MQTT: Kind(services=("_mqtt._tcp", "_secure-mqtt._tcp")),
}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the TXT record of a service type."""

    identity: dict[IdentityKind, tuple[str, ...]] = {}
    """By kind of identity: the keys that hold it, the best first."""
    facts: dict[str, tuple[str, ...]] = {}
    """By fact: the keys that hold it, the best first."""
    vendor: str | None = None
    """Where only one maker uses the type."""
    mac_in_name: bool = False
    """Whether the name ends with the hardware address."""
    scheme: str | None = None
    """Of the URL at which it can be reached."""
    path: str | None = None
    """The key that holds the path of that URL."""


_PRINTER: Final[dict[str, tuple[str, ...]]] = {
    "vendor": ("usb_mfg", "mfg"),
    "model": ("usb_mdl", "mdl", "ty", "product"),
    "location": ("note",),
}


def _printer(scheme: str | None = None, path: str | None = None) -> Known:
    return Known(identity={"uuid": ("uuid",)}, facts=_PRINTER, scheme=scheme, path=path)


_HOMEKIT: Final = Known(identity={"uuid": ("id",)}, facts={"model": ("md",)})
_MATTER: Final[dict[str, tuple[str, ...]]] = {"vendor_product": ("vp",), "device_type": ("dt",), "label": ("dn",)}
KNOWN: Final[dict[str, Known]] = {
    "_axis-video._tcp": Known(identity={"mac": ("macaddress",)}, vendor="Axis", scheme="http"),
    "_rtsp._tcp": Known(scheme="rtsp", path="path"),
    "_http._tcp": Known(scheme="http", path="path"),
    "_https._tcp": Known(scheme="https", path="path"),
    "_opcua-tcp._tcp": Known(scheme="opc.tcp", path="path", facts={"capabilities": ("caps",)}),
    "_opcua-tls._tcp": Known(scheme="opc.tcp", path="path", facts={"capabilities": ("caps",)}),
    "_opcua-https._tcp": Known(scheme="opc.https", path="path", facts={"capabilities": ("caps",)}),
    "_matterc._udp": Known(facts=_MATTER),
    "_esphomelib._tcp": Known(
        identity={"mac": ("mac",)},
        facts={"firmware": ("version",), "model": ("project_name", "board"), "label": ("friendly_name",)},
        vendor="ESPHome",
    ),
    "_shelly._tcp": Known(
        facts={"firmware": ("ver",), "model": ("app",)}, vendor="Shelly", mac_in_name=True, scheme="http"
    ),
    "_hap._tcp": _HOMEKIT,
    "_hap._udp": _HOMEKIT,
    "_ipp._tcp": _printer("ipp", "rp"),
    "_ipps._tcp": _printer("ipps", "rp"),
    "_printer._tcp": _printer(),
    "_pdl-datastream._tcp": _printer(),
    "_uscan._tcp": _printer("http", "rs"),
    "_uscans._tcp": _printer("https", "rs"),
    "_scanner._tcp": _printer(),
    "_googlecast._tcp": Known(identity={"uuid": ("id",)}, facts={"model": ("md",), "label": ("fn",)}),
    "_airplay._tcp": Known(
        identity={"uuid": ("pi",), "mac": ("deviceid",)}, facts={"model": ("model",), "firmware": ("srcvers",)}
    ),
    "_mqtt._tcp": Known(scheme="mqtt"),
    "_secure-mqtt._tcp": Known(scheme="mqtts"),
}
"""A new service type needs no line: without one it is recognised by its name and host."""

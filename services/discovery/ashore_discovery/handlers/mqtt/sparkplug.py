"""Sparkplug B (Eclipse Sparkplug 3.0): births and deaths of edge nodes, and of the devices behind them.

A node's death is its will, and carries the number (`bdSeq`) of the birth that it ends, so the late will of an old
connection ends nobody else. With its node, every device behind it is gone. Births are not retained: whoever was born
before we came is known by its data, or asked for a rebirth (`Node Control/Rebirth`), as the configuration says.
"""

import re
from typing import Final

import msgspec

from ashore_discovery.handlers.mqtt.details import Sparkplug
from ashore_discovery.handlers.mqtt.protobuf import Payload, decode, rebirth
from ashore_discovery.handlers.mqtt.scheme import MOST_DEVICES, Heard, Message, Scheme, clean, rejected, serial_of
from ashore_discovery.model import Facts, Sighting, Swept

ASK_AGAIN_SECONDS: Final = 10.0
_TOPIC: Final = re.compile(
    r"(?P<certificate>\$sparkplug/certificates/)?spBv1\.0/(?P<group>[^/+#\x00]{1,128})/"
    r"(?P<verb>N|D)(?P<what>BIRTH|DEATH|DATA)/(?P<node>[^/+#\x00]{1,128})(/(?P<device>[^/+#\x00]{1,128}))?"
)
_KNOWN: Final = re.compile(r"(?:properties|node info|device info|info)/(?P<name>[^/]{1,48})", re.IGNORECASE)
_AS_FACT: Final = {
    "serial number": "serial", "serialnumber": "serial", "serial": "serial", "manufacturer": "manufacturer",
    "model": "model", "firmware": "firmware", "firmware version": "firmware", "hardware": "hardware",
    "hardware version": "hardware", "hw_version": "hardware", "fw_version": "firmware", "software": "firmware",
}  # fmt: skip
_MOST_NAMES: Final = 64
_MOST_FACTS: Final = 48


class _Node(msgspec.Struct):
    alive: bool = True
    bd_seq: int | None = None
    """Of the birth that we know; None if we know none, and then any death counts."""
    sure: bool = True
    asked_at: float = 0.0
    own: Sighting | None = None
    devices: dict[str, Sighting] = {}


class SparkplugScheme(Scheme):
    """Edge nodes and their devices."""

    def __init__(self, broker: str, url: str, form: Sparkplug) -> None:
        super().__init__(broker, url, form.label, "spBv1.0")
        self._late = form.late
        self._nodes: dict[str, _Node] = {}
        self._count = 0

    def filters(self) -> list[str]:
        """See `Scheme.filters`. Where births are kept as certificates, these name nodes that are worth asking."""
        found = ["NDEATH/+", "DDEATH/+/+", "NBIRTH/+", "DBIRTH/+/+"]
        if self._late != "wait":
            found += ["NDATA/+", "DDATA/+/+"]
        certificates = ["$sparkplug/certificates/spBv1.0/+/NBIRTH/+"] if self._late == "ask" else []
        return [f"spBv1.0/+/{one}" for one in found] + certificates

    def hear(self, message: Message) -> Heard | None:
        """See `Scheme.hear`."""
        match = _TOPIC.fullmatch(message.topic)
        if match is None or (match["verb"] == "D") is not (match["device"] is not None):
            return None
        name = f"{match['group']}/{match['node']}"
        if match["certificate"]:
            return Heard(publish=self._ask(name, message.at))
        if match["what"] == "DEATH":
            return self._death(name, match["device"], message)
        if name not in self._nodes or (match["device"] and match["device"] not in self._nodes[name].devices):
            if self._count >= MOST_DEVICES and not self._has_room():
                return rejected(f"{message.topic}: {MOST_DEVICES} nodes and devices are known already")
            self._count += 1
        if match["what"] == "DATA":
            return self._data(name, match["device"], message)
        try:
            payload = decode(message.payload)
        except ValueError as error:
            self._recount()
            return rejected(f"{message.topic}: {error}")
        return (
            self._device(name, match["device"], payload, message)
            if match["device"]
            else self._birth(name, payload, message)
        )

    def _birth(self, name: str, payload: Payload, message: Message) -> Heard:
        """NBIRTH. With a new session the devices of the old one are not there before they are born themselves."""
        node = self._nodes.setdefault(name, _Node())
        number = payload.value("bdSeq")
        bd_seq = number if isinstance(number, int) else None
        orphans: list[Sighting | Swept] = []
        if node.alive and node.sure and bd_seq != node.bd_seq:
            orphans = [
                Sighting(id=one.id, kind="bye", cause="node-restarted", wire_at=message.at)
                for one in node.devices.values()
            ]
            self._count -= len(node.devices)
            node.devices = {}
        node.alive, node.sure, node.bd_seq = True, True, bd_seq
        node.own = self._sighting(name, None, _facts(name, None, payload), message, "birth")
        return Heard(items=[node.own, *orphans])

    def _device(self, name: str, device: str, payload: Payload, message: Message) -> Heard:
        """DBIRTH."""
        node = self._nodes.setdefault(name, _Node(sure=False))
        found = self._sighting(name, device, _facts(name, device, payload), message, "birth")
        node.devices[device] = found
        node.alive = True
        late = [] if node.own else self._of_data(name, node, message)
        return Heard(items=[*late, found], publish=[] if node.sure else self._ask(name, message.at))

    def _death(self, name: str, device: str | None, message: Message) -> Heard:
        node = self._nodes.get(name)
        if device is not None:
            if node is not None and device in node.devices:
                del node.devices[device]
                self._count -= 1
            return Heard(items=[self.gone(f"{name}/{device}", message, "death")])
        try:
            number = decode(message.payload).value("bdSeq")
        except ValueError as error:
            return rejected(f"{message.topic}: {error}")
        if node is None:
            node = self._nodes.setdefault(name, _Node()) if self._count < MOST_DEVICES else _Node()
        elif node.bd_seq is not None and number is not None and number != node.bd_seq:
            # The will of an old connection of a node that has been born again.
            return Heard()
        devices = [f"{name}/{one}" for one in node.devices]
        node.alive, node.devices, node.own, node.bd_seq = False, {}, None, None
        self._recount()
        dead: list[Sighting | Swept] = [self.gone(one, message, "will") for one in (*devices, name)]
        # An earlier run of the agent may have known more devices behind it.
        return Heard(items=[*dead, Swept(begun=message.at, within=f"{self.root}/{name}/")])

    def _data(self, name: str, device: str | None, message: Message) -> Heard:
        node = self._nodes.setdefault(name, _Node(sure=False))
        items: list[Sighting | Swept] = []
        if not node.sure or node.own is None:
            items += self._of_data(name, node, message)
        if device is not None and (device not in node.devices or not node.sure):
            known = node.devices.get(device)
            node.devices[device] = known or self._sighting(name, device, _facts(name, device), message, "data")
            items.append(msgspec.structs.replace(node.devices[device], wire_at=message.at, cause="data"))
        return Heard(items=items, publish=[] if node.sure else self._ask(name, message.at))

    def _of_data(self, name: str, node: _Node, message: Message) -> list[Sighting | Swept]:
        """Whoever sends data lives, even if nobody here has seen it being born."""
        node.alive = True
        if node.own is None:
            node.own = self._sighting(name, None, _facts(name, None), message, "data")
        return [msgspec.structs.replace(node.own, wire_at=message.at, cause="data")]

    def _sighting(self, name: str, device: str | None, facts: Facts, message: Message, cause: str) -> Sighting:
        own = f"{name}/{device}" if device else name
        return self.sighting(own, message, cause, facts, identity=serial_of(facts))

    def _ask(self, name: str, now: float) -> list[tuple[str, bytes]]:
        node = self._nodes.get(name)
        if self._late != "ask" or (node and node.alive and node.sure):
            return []
        if node is None:
            if self._count >= MOST_DEVICES and not self._has_room():
                return []
            self._count += 1
            node = self._nodes[name] = _Node(alive=False, sure=False)
        if now - node.asked_at < ASK_AGAIN_SECONDS:
            return []
        node.asked_at = now
        group, _, own = name.partition("/")
        return [(f"spBv1.0/{group}/NCMD/{own}", rebirth(max(0, int(now * 1000))))]

    def _has_room(self) -> bool:
        """The dead make room for the living."""
        self._nodes = {name: node for name, node in self._nodes.items() if node.alive}
        self._recount()
        return self._count < MOST_DEVICES

    def _recount(self) -> None:
        self._count = len(self._nodes) + sum(len(one.devices) for one in self._nodes.values())

    def doubt(self) -> None:
        """See `Scheme.doubt`."""
        for node in self._nodes.values():
            node.sure, node.bd_seq, node.asked_at = False, None, 0.0

    def holds(self, id: str, now: float) -> bool | None:  # noqa: A002 - a sighting's own word
        """See `Scheme.holds`: no birth is retained, so only who is asked can be missed."""
        del now
        group, _, rest = id.removeprefix(self.root + "/").partition("/")
        own, _, device = rest.partition("/")
        node = self._nodes.get(f"{group}/{own}")
        if node is None or not node.sure:
            return None
        return node.alive and (not device or device in node.devices)

    def question(self, id: str, now: float) -> list[tuple[str, bytes]]:  # noqa: A002 - a sighting's own word
        """See `Scheme.question`."""
        name = "/".join(id.removeprefix(self.root + "/").split("/")[:2])
        return self._ask(name, now)

    def ids(self) -> list[str]:
        """See `Scheme.ids`."""
        alive = {name: node for name, node in self._nodes.items() if node.alive}
        devices = [f"{self.root}/{name}/{device}" for name, node in alive.items() for device in node.devices]
        return [*(f"{self.root}/{name}" for name in alive), *devices]


def _facts(name: str, device: str | None, payload: Payload | None = None) -> Facts:
    group, _, node = name.partition("/")
    facts: Facts = {"group": group, "node": node}
    if device:
        facts["device"] = device
    metrics = payload.metrics if payload else []
    names = [str(clean(one.name)) for one in metrics if one.name and not one.name.startswith("Node Control/")]
    if names:
        facts |= {"metrics": names[:_MOST_NAMES], "metric_count": len(names)}
    for one in metrics:
        match = _KNOWN.fullmatch(one.name)
        value = clean(one.value)
        if match is None or value in (None, "") or len(facts) >= _MOST_FACTS:
            continue
        own = str(clean(match["name"])).lower()
        facts.setdefault(_AS_FACT.get(own, f"property.{own}"), value)
    return facts

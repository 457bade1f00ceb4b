"""devmod: the device introduces itself and lists its modules (FDO 1.1, section 3.8.3.2).

Nothing in it is proven, and much of it is constant in some clients: the C client calls every device `fdo-linux-1234`.
Use it to choose how to speak with the device, and for rules of the owner's own; never as an identity.

Lists arrive in chunks `[start, count, names...]`. The Go client counts `start` on, the Java one leaves it at 0, so the
order of arrival decides; `start` and `count` are checked, never used as an index.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Final

import msgspec

from ashore.fdo.serviceinfo import MAX_MODULE, ServiceInfoError, values
from ashore.fdo.serviceinfo.modules import Outlet

MODULE: Final = "devmod"
MAX_MODULES: Final = 256
_MAX_FACT: Final = 1024
_CHUNK: Final = 10


class Devmod(msgspec.Struct, frozen=True, kw_only=True):
    """What a device says about itself. The first six the standard demands; not every client sends them all."""

    os: str = ""
    arch: str = ""
    version: str = ""
    device: str = ""
    sep: str = ""
    bin: str = ""
    sn: str = ""
    """Serial number as text; hexadecimal when the device sent bytes that are no text."""
    pathsep: str = ""
    nl: str = ""
    tmp: str = ""
    dir: str = ""
    progenv: str = ""
    mudurl: str = ""
    modules: tuple[str, ...] = ()


FACTS: Final = tuple(field for field in Devmod.__struct_fields__ if field != "modules")


class DevmodReader:
    """The owner's side: collects the facts until the list of modules is complete."""

    name: ClassVar[str] = MODULE

    def __init__(self) -> None:
        self._facts: dict[str, str] = {}
        self._count: int | None = None
        self._modules: list[str] = []
        self.complete = False
        """True once as many modules as announced were named."""

    @cached_property
    def result(self) -> Devmod:
        """What the device said; to be asked for once it is complete."""
        return Devmod(**self._facts, modules=tuple(dict.fromkeys(self._modules)))

    def receive(self, message: str, value: object) -> None:
        """Take one fact; facts that the standard does not know are ignored."""
        what = f"devmod:{message}"
        if message == "nummodules":
            self._count = values.integer(value, what, 0, MAX_MODULES)
        elif message == "modules":
            self._take_chunk(values.array(value, what))
        elif message == "sn" and isinstance(value, bytes):
            self._facts["sn"] = _readable(value)
        elif message in FACTS:
            self._facts[message] = values.text(value, what, _MAX_FACT)
        self.complete = self._count is not None and len(self._modules) >= self._count

    def _take_chunk(self, chunk: list[object]) -> None:
        if len(chunk) < 2:  # noqa: PLR2004 (start and count)
            raise ServiceInfoError("devmod:modules has neither start nor count")
        highest = MAX_MODULES if self._count is None else self._count
        values.integer(chunk[0], "the start of devmod:modules", 0, highest)
        count = values.integer(chunk[1], "the count of devmod:modules", 0, highest)
        names = [values.text(name, "a name in devmod:modules", MAX_MODULE) for name in chunk[2:]]
        if count != len(names) or not all(names):
            raise ServiceInfoError(f"devmod:modules announces {count} names and holds {len(names)}, or empty ones")
        if len(self._modules) + count > highest:
            raise ServiceInfoError(f"devmod:modules names more than {highest} modules")
        self._modules += names


def introduce(facts: Devmod, modules: Sequence[str], out: Outlet) -> None:
    """Put the device's own introduction; empty facts are left out."""
    out.put("active", value=True)
    for fact in FACTS:
        if content := getattr(facts, fact):
            out.put(fact, content)
    out.put("nummodules", len(modules))
    for start in range(0, len(modules), _CHUNK):
        names = modules[start : start + _CHUNK]
        out.put("modules", [start, len(names), *names])


def _readable(serial: bytes) -> str:
    try:
        text = serial.decode()
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and len(text) <= _MAX_FACT and text else serial.hex()

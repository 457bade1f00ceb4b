"""What people say of identities, which goes before whatever facts say: these names are one device, those are another.

A name is written as `ashore discovery explain` shows it: `mac:accc8e0a0b0c`, `id:mdns/hall._http._tcp.local.`
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ashore_discovery.tracking import identity

MOST_RULINGS: Final = 1000
GIVEN: Final = "given_name"
"""The fact that holds the name which a person has given to a device."""
SAID: Final = "said"
"""The kind of the name that all facets have which a person says are one device; no key is made from it."""
Names = Annotated[
    list[Annotated[str, Meta(max_length=600)]], Meta(max_length=64, description="Names as `explain` shows them")
]


class Ruling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a person says of one device."""

    name: Annotated[
        str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)", description="What people call it")
    ]
    same_as: Annotated[Names, Meta(min_length=1, description="Names that are all this device: `mac:accc8e0a0b0c`")]
    not_same_as: Annotated[Names, Meta(description="Names that are never this device, whatever facts say")] = []

    def spelt(self) -> "Ruling":
        """With every name in its one spelling; what identifies nobody is left out."""
        return msgspec.structs.replace(self, same_as=_spelt(self.same_as), not_same_as=_spelt(self.not_same_as))

    def problems(self) -> list[str]:
        """What is wrong with it, a sentence each."""
        wrong = [name for name in (*self.same_as, *self.not_same_as) if not identity.spelt(name)]
        spelt = self.spelt()
        both = set(spelt.same_as) & set(spelt.not_same_as)
        return [
            *(f"'{name}' identifies nobody: write a name as `ashore discovery explain` shows it" for name in wrong),
            *(f"'{name}' is said to be the device, and not to be it" for name in sorted(both)),
        ]


class Rulings:
    """All that people say. Where two rulings name the same, the first counts, and `problems` tells of the other."""

    def __init__(self, rulings: Sequence[Ruling] = ()) -> None:
        self.problems: dict[str, list[str]] = {}
        """By the device that was ruled on: why that cannot be used."""
        self._same: dict[str, Ruling] = {}
        """By name: the ruling that says whose it is."""
        self._parting: dict[str, list[Ruling]] = {}
        """By name: the rulings that say whose it is not."""
        for ruling in rulings:
            problems = [*ruling.problems(), *self._taken(ruling)]
            if problems:
                self.problems[f"device '{ruling.name}'"] = problems
            else:
                self._add(ruling.spelt())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rulings) and (self._same, self._parting) == (other._same, other._parting)

    __hash__ = None  # type: ignore[assignment]  # it is only compared

    def named(self) -> set[str]:
        """Every name that a ruling is about."""
        return {*self._same, *self._parting}

    def of(self, names: Iterable[str]) -> list[Ruling]:
        """The rulings that say that this is their device."""
        found = {self._same[name].name: self._same[name] for name in names if name in self._same}
        return list(found.values())

    def said(self, names: Iterable[str]) -> list[str]:
        """The names that this has by ruling."""
        return [f"{SAID}:{ruling.name}" for ruling in self.of(names)] if self._same else []

    def given(self, names: Iterable[str]) -> str:
        """What people call it; empty where they call it nothing."""
        return next((ruling.name for ruling in self.of(names)), "")

    def part(self, one: Iterable[str], other: Iterable[str]) -> bool:
        """Whether a ruling says that these are two devices."""
        if not self._parting:
            return False
        first, second = set(one), set(other)
        return self._parts(first, second) or self._parts(second, first)

    def unite(self, one: Iterable[str], other: Iterable[str]) -> bool:
        """Whether a ruling says that these are one device."""
        return bool({*self.said(one)} & {*self.said(other)})

    def explain(self, names: Iterable[str]) -> list[str]:
        """What people say of a device with these names, a sentence each."""
        own = list(names)
        told = [
            f"people call it '{one.name}', and say that it is {_listed(set(own) & {*one.same_as})}"
            + (f", never {', '.join(one.not_same_as)}" if one.not_same_as else "")
            for one in self.of(own)
        ]
        apart = {ruling.name: name for name in own for ruling in self._parting.get(name, [])}
        return [*told, *(f"people say that {name} is never '{other}'" for other, name in apart.items())]

    def _parts(self, device: set[str], stranger: set[str]) -> bool:
        return any(device & {*ruling.same_as} for name in stranger for ruling in self._parting.get(name, []))

    def _taken(self, ruling: Ruling) -> list[str]:
        taken = [(name, self._same[name].name) for name in ruling.spelt().same_as if name in self._same]
        return [f"'{name}' is said to be '{other}' already" for name, other in taken]

    def _add(self, ruling: Ruling) -> None:
        self._same |= dict.fromkeys(ruling.same_as, ruling)
        for name in ruling.not_same_as:
            self._parting.setdefault(name, []).append(ruling)


def _spelt(names: Iterable[str]) -> list[str]:
    return [found for found in map(identity.spelt, names) if found]


def _listed(names: set[str]) -> str:
    return " and ".join(sorted(names))

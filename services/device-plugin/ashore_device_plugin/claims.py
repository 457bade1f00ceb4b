"""Which slots this node has: pure.

A claim is here from before it is asked for until it is given back, also while its instance is away: so a device that
comes back is still whose it was. The kubelet never says that a container is gone, so each is compared with what it says
of its containers: who is not in use for a while was left behind.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

from ashore.slots import Held, slot_name, slot_number, user
from ashore_device_plugin.instances import Instance, Key
from ashore_device_plugin.names import PREFIX, Owner

Used = Collection[tuple[str, str]]
"""Resources and ids that containers have."""


class Claim(msgspec.Struct, kw_only=True):
    """A slot that this node has."""

    namespace: str
    instance: str
    slot: int
    holder: str = ""
    """As in `ashore.slots.Claim`."""
    told: bool = False
    """Whether the launcher knows."""
    learnt: bool = False
    """Whether it was claimed by an earlier run, and is known from the launcher alone."""
    unused_since: float | None = None
    """Since when no container has it, as far as was looked; None where one has, or nobody has looked since it was
    allocated."""

    @property
    def key(self) -> Key:
        """Its instance."""
        return self.namespace, self.instance

    @property
    def virtual(self) -> str:
        """The id of the configuration's resource; empty where it is one of the instance's."""
        return self.holder.removeprefix("C:")

    @property
    def owner(self) -> Owner:
        """Through whose resource."""
        if self.virtual:
            return Owner("configuration", self.namespace, self.virtual.rpartition("-")[0])
        return Owner("instance", self.namespace, self.instance)

    @property
    def used_as(self) -> tuple[str, str]:
        """Resource and id, as the kubelet knows it."""
        return self.owner.resource, self.virtual or slot_name(self.instance, self.slot)

    def __str__(self) -> str:
        return f"slot {self.slot} of {self.instance} in {self.namespace}"


class Claims:
    """All of this node."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._of: dict[Key, dict[int, Claim]] = {}
        self._virtual: dict[tuple[str, str], Claim] = {}
        """By namespace and virtual id."""
        self._refused: dict[tuple[str, str], Claim] = {}
        """Likewise: what a container has, and the launcher has not granted. Nothing else says which device that is."""

    def __iter__(self) -> Iterator[Claim]:
        return (claim for slots in list(self._of.values()) for claim in list(slots.values()))

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def find(self, key: Key, slot: int) -> Claim | None:
        """The claim of a slot."""
        return self._of.get(key, {}).get(slot)

    def of(self, key: Key) -> dict[int, Claim]:
        """The claims of an instance, by slot."""
        return self._of.get(key, {})

    def virtual(self, namespace: str, id_: str) -> Claim | None:
        """The claim that was made for an id of a configuration's resource."""
        return self._virtual.get((namespace, id_))

    def refused(self, namespace: str, id_: str) -> Claim | None:
        """The claim for such an id that was not granted, while a container has the id."""
        return self._refused.get((namespace, id_))

    def given(self) -> list[Claim]:
        """What virtual ids were given for."""
        return [*self._virtual.values(), *self._refused.values()]

    def numbers(self, configuration: Key) -> set[int]:
        """Which virtual ids of a configuration are taken here."""
        namespace, name = configuration
        keys = (*self._virtual, *self._refused)
        found = (slot_number(name, id_) for where, id_ in keys if where == namespace)
        return {number for number in found if number is not None}

    def others(self, instance: Instance) -> set[str]:
        """Slots of an instance, by name, that other nodes have. What an event says of this node may be over."""
        found = ((name, user(value)) for name, value in instance.usage.items())
        return {name for name, one in found if one is not None and not one.is_at(self._node)}

    def put(self, claim: Claim) -> Claim:
        """The slot is this node's."""
        self.drop(claim)
        self._of.setdefault(claim.key, {})[claim.slot] = claim
        if claim.virtual:
            self._virtual[claim.namespace, claim.virtual] = claim
            self._refused.pop((claim.namespace, claim.virtual), None)
        return claim

    def drop(self, claim: Claim) -> None:
        """It is no more."""
        found = self._of.get(claim.key, {}).pop(claim.slot, None)
        if found is not None and self._virtual.get((found.namespace, found.virtual)) is found:
            del self._virtual[found.namespace, found.virtual]
        if not self._of.get(claim.key):
            self._of.pop(claim.key, None)

    def refuse(self, claim: Claim) -> None:
        """A container has it, and the launcher does not grant it."""
        self.drop(claim)
        if claim.virtual:
            self._refused[claim.namespace, claim.virtual] = claim

    def restore(self, claims: Iterable[Claim]) -> None:
        """What an earlier run has given, and nobody else has told of since."""
        for claim in claims:
            known = self.virtual(claim.namespace, claim.virtual) or self.find(claim.key, claim.slot)
            if known is None:
                self.put(claim)

    def leave(self, key: Key) -> None:
        """The instance is no more: the launcher knows of no slot of it, and containers still have theirs."""
        for claim in list(self.of(key).values()):
            claim.told = False
            if claim.unused_since is not None:
                self.drop(claim)

    def back(self, instance: Instance) -> bool:
        """Claim again what was not granted and is free by now; whether there is such a slot."""
        others = self.others(instance)
        free = [
            one
            for one in self._refused.values()
            if one.key == instance.key and slot_name(instance.name, one.slot) not in others
        ]
        tried = [self.try_again(claim) for claim in free]
        return any(tried)

    def try_again(self, claim: Claim) -> bool:
        """Claim what was not granted; not where the slot is another container's here."""
        if self.find(claim.key, claim.slot) is not None:
            return False
        self.put(claim)
        return True

    def learn(self, instance: Instance) -> None:
        """What an event says that this node has, and what is not known here: an earlier run has claimed it."""
        for name in instance.usage:
            slot, one = slot_number(instance.name, name), user(instance.usage[name])
            if slot is not None and one is not None and one.is_at(self._node):
                self._learn(Held(namespace=instance.namespace, instance=instance.name, slot=slot, holder=one.holder))

    def compare(self, held: Iterable[Held]) -> None:
        """Know what the launcher says, whole: others of its claims are learnt; ours that it does not know are told.

        What was learnt from it, and is not true any more, is forgotten, unless a container has it.
        """
        known = set()
        for one in held:
            self._learn(one)
            known.add((one.namespace, one.instance, one.slot))
        for claim in list(self):
            if (claim.namespace, claim.instance, claim.slot) in known:
                claim.told = True
            elif claim.learnt and claim.unused_since is not None:
                self.drop(claim)
            else:
                claim.told = False

    def look(self, used: Used, now: float, has: Callable[[Owner], bool]) -> None:
        """Note which of them containers have; `has` says whether the resource is that owner's."""
        for claim in list(self):
            if claim.used_as in used and has(claim.owner):
                claim.unused_since = None
            elif claim.unused_since is None:
                claim.unused_since = now
        self._refused = {key: claim for key, claim in self._refused.items() if claim.used_as in used}

    def begin_anew(self) -> None:
        """What the kubelet has said so far does not count: it was started anew."""
        for claim in list(self):
            claim.unused_since = None

    def unused(self, now: float, seconds: float) -> list[Claim]:
        """Those that no container has for so long."""
        return [one for one in self if one.unused_since is not None and now - one.unused_since >= seconds]

    def known(self) -> dict[tuple[Key, int, str], Claim]:
        """Every one, by what makes it another one than before."""
        return {(one.key, one.slot, one.holder): one for one in self}

    def untold(self) -> list[Claim]:
        """Those of which the launcher does not know, and that are somebody's, as far as was looked."""
        return [one for one in self if not one.told and one.unused_since is None]

    def _learn(self, held: Held) -> None:
        key = held.namespace, held.instance
        known = self.find(key, held.slot)
        if known is None or (known.told and known.holder != held.holder):
            found = Claim(namespace=held.namespace, instance=held.instance, slot=held.slot, holder=held.holder)
            found.told = found.learnt = True
            self.put(found)


def instance_slot(resource: str, id_: str) -> int | None:
    """The slot that an id of an instance's resource means."""
    return slot_number(resource.removeprefix(PREFIX), id_)

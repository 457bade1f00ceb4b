"""Who uses which slot of a device, decided here for all nodes.

The rules are pure functions over an instance's `deviceUsage`. The desk answers device plugins by them, one after the
other for each instance, and has every change stored before it says that it was granted. It remembers what it has
stored, since what a watch tells comes later than the next question. So there is one desk, that of the leader, and
whoever else changes usage (a node that is lost) does it through the desk.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakValueDictionary

import msgspec

from ashore.bus import Responder
from ashore.events import token_of
from ashore.slots import (
    CLAIM,
    RELEASE,
    USAGE,
    Claim,
    ClaimAnswer,
    Held,
    Release,
    ReleaseAnswer,
    UsageAnswer,
    UsageQuestion,
    User,
    slot_name,
    slot_number,
    user,
)
from ashore_broker_launcher.cluster import Key

Usage = Mapping[str, str]
T = TypeVar("T")
_NOBODY: Final = ""


class SlotRefusedError(Exception):
    """The slot is not granted; the text says why, and `holder` who has it."""

    def __init__(self, problem: str, holder: str = _NOBODY) -> None:
        super().__init__(problem)
        self.holder = holder


def claim(usage: Usage, wanted: User, *, instance: str, capacity: int, slot: int) -> dict[str, str]:
    """The usage with this slot in it; raise SlotRefusedError. There are never more users than capacity."""
    name = slot_name(instance, slot)
    if slot >= capacity:
        raise SlotRefusedError(f"{instance} has a capacity of {capacity}, so there is no slot {slot}")
    holder = user(usage.get(name, _NOBODY))
    if holder is not None:
        if holder.is_at(wanted.node) and holder.holder == wanted.holder:
            return taken(usage)
        raise SlotRefusedError(f"{name} is used by {holder}", str(holder))
    if len(taken(usage)) >= capacity:
        raise SlotRefusedError(f"{instance} has {len(taken(usage))} users, and a capacity of {capacity}")
    return {**taken(usage), name: str(wanted)}


def release(usage: Usage, *, instance: str, node: str, slots: Iterable[int]) -> tuple[dict[str, str], list[int]]:
    """The usage without these slots of this node, and which of them it had. What others have stays theirs."""
    left, released = taken(usage), []
    for slot in dict.fromkeys(slots):
        holder = user(left.get(slot_name(instance, slot), _NOBODY))
        if holder is not None and holder.is_at(node):
            del left[slot_name(instance, slot)]
            released.append(slot)
    return left, released


def without_nodes(usage: Usage, lost: Collection[str]) -> dict[str, str]:
    """The usage when nodes are lost: what they had is free."""
    users = ((name, value, user(value)) for name, value in usage.items())
    return {name: value for name, value, one in users if one is not None and not any(map(one.is_at, lost))}


def taken(usage: Usage) -> dict[str, str]:
    """The usage without slots that are named and free, as older agents of Akri write them."""
    return {name: value for name, value in usage.items() if value}


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What the cluster says of an instance, as far as slots go."""

    uid: str
    capacity: int
    nodes: list[str]
    usage: dict[str, str] = {}


class Instances(Protocol):
    """What the desk needs from whoever keeps instances."""

    def table(self, key: Key) -> Table | None:
        """The instance; None where there is none. Its usage counts until the desk has stored one."""
        ...

    def known(self) -> Iterable[Key]:
        """All instances."""
        ...

    async def apply_usage(self, namespace: str, instance: str, usage: dict[str, str]) -> None:
        """Store the usage; it is stored when this returns. Raise ApplyError."""
        ...


class ApplyError(Exception):
    """The usage could not be stored; the text says why."""


class Desk:
    """Answers device plugins: one claim of an instance after the other."""

    def __init__(self, instances: Instances, node_name: Callable[[str], str] = str) -> None:
        """`node_name` makes the name that stands in the usage from the one that an agent has."""
        self._instances = instances
        self._node_name = node_name
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        """Of those that are being answered, whatever names strangers ask for."""
        self._stored: dict[Key, tuple[str, dict[str, str]]] = {}
        """By instance: the UID of its life, and the usage that was stored."""

    def verbs(self) -> dict[str, Responder]:
        """What is served, by verb."""
        return {
            CLAIM: _answering(Claim, self.claim, ClaimAnswer),
            RELEASE: _answering(Release, self.release, ReleaseAnswer),
            USAGE: _answering(UsageQuestion, self.usage_of, UsageAnswer),
        }

    def usage(self, key: Key) -> dict[str, str]:
        """Who uses the instance, as it was stored last."""
        table = self._instances.table(key)
        return self._usage(key, table) if table else {}

    async def claim(self, asked: Claim) -> ClaimAnswer:
        """Grant a slot, or say why not."""
        key = asked.namespace, asked.instance
        async with self.lock(key):
            table = self._instances.table(key)
            if table is None:
                return ClaimAnswer(problem=f"there is no instance {asked.instance} in {asked.namespace}")
            if token_of(asked.node) not in map(token_of, table.nodes):
                return ClaimAnswer(problem=f"the node {asked.node} does not see {asked.instance}")
            wanted = User(self._node_name(asked.node), asked.holder)
            before = self._usage(key, table)
            try:
                after = claim(before, wanted, instance=asked.instance, capacity=table.capacity, slot=asked.slot)
                await self._store(key, table, before, after)
            except SlotRefusedError as error:
                return ClaimAnswer(problem=str(error), holder=error.holder)
            except ApplyError as error:
                return ClaimAnswer(problem=f"the slot could not be stored: {error}")
        return ClaimAnswer(granted=True)

    async def release(self, asked: Release) -> ReleaseAnswer:
        """Free slots; those that the node does not have are left alone."""
        key = asked.namespace, asked.instance
        async with self.lock(key):
            table = self._instances.table(key)
            if table is None:
                return ReleaseAnswer()
            before = self._usage(key, table)
            after, released = release(before, instance=asked.instance, node=asked.node, slots=asked.slots)
            try:
                await self._store(key, table, before, after)
            except ApplyError as error:
                return ReleaseAnswer(problem=f"the slots could not be freed: {error}")
        return ReleaseAnswer(released=released)

    async def usage_of(self, asked: UsageQuestion) -> UsageAnswer:
        """Every slot that a node has."""
        return UsageAnswer(slots=[held for key in self._instances.known() for held in self._held(key, asked.node)])

    def lock(self, key: Key) -> asyncio.Lock:
        """Held by whoever changes an instance, so that no claim is granted meanwhile and then undone."""
        return self._locks.setdefault(key, asyncio.Lock())

    def note(self, key: Key, uid: str, usage: Usage) -> None:
        """Somebody who holds the lock has stored this usage."""
        self._stored[key] = uid, dict(usage)

    def clear(self) -> None:
        """Begin to lead: whatever this replica has stored before, another one may have changed."""
        self._stored.clear()

    def forget(self, key: Key) -> None:
        """The instance is no more."""
        self._stored.pop(key, None)

    def _held(self, key: Key, node: str) -> Iterable[Held]:
        namespace, instance = key
        for name, value in self.usage(key).items():
            number, holder = slot_number(instance, name), user(value)
            if number is not None and holder is not None and holder.is_at(node):
                yield Held(namespace=namespace, instance=instance, slot=number, holder=holder.holder)

    def _usage(self, key: Key, table: Table) -> dict[str, str]:
        uid, usage = self._stored.get(key, ("", {}))
        return usage if uid == table.uid and uid else taken(table.usage)

    async def _store(self, key: Key, table: Table, before: Usage, after: dict[str, str]) -> None:
        if after != before:
            await self._instances.apply_usage(*key, after)
            self._stored[key] = table.uid, after


def _answering(kind: type[T], answer: Callable[[T], Awaitable[Any]], refusal: type[Any]) -> Responder:
    async def respond(body: bytes) -> bytes:
        try:
            asked = msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return msgspec.json.encode(refusal(problem=f"this cannot be answered: {error}"))
        return msgspec.json.encode(await answer(asked))

    return respond

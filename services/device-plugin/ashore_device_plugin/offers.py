"""What the kubelet is told of a resource: ids, and whether each can be given to a container. Pure."""

from collections.abc import Iterable, Sequence
from itertools import count, islice
from typing import NamedTuple

from ashore.slots import slot_name
from ashore_device_plugin.claims import Claims
from ashore_device_plugin.instances import Instance, Key


class Offer(NamedTuple):
    """One id of a resource."""

    id: str
    healthy: bool = True


def instance_offers(instance: Instance, claims: Claims) -> list[Offer]:
    """A slot is healthy while it is free or this node's own, through this very resource."""
    own, others = claims.of(instance.key), claims.others(instance)
    ids = ((n, slot_name(instance.name, n)) for n in range(instance.capacity))
    return [Offer(id_, not own[n].holder if n in own else id_ not in others) for n, id_ in ids]


def configuration_offers(configuration: Key, instances: Sequence[Instance], claims: Claims) -> list[Offer]:
    """The virtual ids that this node has, healthy while their devices are here, and one for each instance with room."""
    namespace, name = configuration
    taken, here = claims.numbers(configuration), {instance.key for instance in instances}
    room = sum(1 for instance in instances if has_room(instance, claims))
    free = islice((number for number in count() if number not in taken), room)
    own = ((id_, claims.virtual(namespace, id_)) for id_ in (slot_name(name, number) for number in taken))
    had = {id_: claim is not None and claim.key in here for id_, claim in own}
    ids = (slot_name(name, number) for number in sorted([*taken, *free]))
    return [Offer(id_, had.get(id_, True)) for id_ in ids]


def free_slots(instance: Instance, claims: Claims) -> list[int]:
    """Slots that nobody has, as far as is known here; none where there are as many users as capacity."""
    own, others = claims.of(instance.key), claims.others(instance)
    if len(own) + len(others) >= instance.capacity:
        return []
    return [n for n in range(instance.capacity) if n not in own and slot_name(instance.name, n) not in others]


def has_room(instance: Instance, claims: Claims) -> bool:
    """Whether one more may use it."""
    return bool(free_slots(instance, claims))


def preferred(available: Iterable[str], must: Sequence[str], size: int, own: Iterable[str]) -> list[str]:
    """So many ids: those that must be among them, then those whose slots this node has already."""
    had = set(own)
    others = sorted((id_ for id_ in set(available) if id_ not in set(must)), key=lambda id_: (id_ not in had, id_))
    return [*must, *others][:size]

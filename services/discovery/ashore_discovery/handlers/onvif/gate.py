"""How much one sender, and all of them together, may say: whoever floods us is not even read. Pure."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ashore_discovery.handler import uncounted
from ashore_discovery.limits import Pace, PerSender

MOST_REMEMBERED: Final = 4096
REPETITION_SECONDS: Final = 5.0
_ALL_PER_SECOND, _ALL_AT_ONCE = 1000.0, 6000
# A recorder says hello for each of its channels, four times.
_ONE_PER_SECOND, _ONE_AT_ONCE = 40.0, 400
_NEW_PER_SECOND, _NEW_AT_ONCE = 0.5, 64


class Gate:
    """Who may still speak, and what was already said."""

    def __init__(self, clock: Callable[[], float], dropped: Callable[[str], None] = uncounted) -> None:
        self._clock = clock
        self._count = dropped
        self._everybody = Pace(_ALL_PER_SECOND, _ALL_AT_ONCE, clock)
        self._talking = PerSender(_ONE_PER_SECOND, _ONE_AT_ONCE, clock)
        self._founding = PerSender(_NEW_PER_SECOND, _NEW_AT_ONCE, clock)
        self._said: OrderedDict[object, float] = OrderedDict()
        self.refused = 0
        self.refused_at = 0.0

    def admits(self, sender: str) -> bool:
        """Whether this datagram may be read."""
        taken = self._talking.take(sender) and self._everybody.take()
        return taken or self.refuse(sender, "too many messages")

    def founds(self, sender: str) -> bool:
        """Whether this sender may name one more device that nobody has heard of."""
        return self._founding.take(sender) or self.refuse(sender, "too many new devices")

    def is_new(self, thing: object) -> bool:
        """Whether this was not said before: everything is sent two to four times over UDP."""
        now = self._clock()
        # Later it is no repetition: some devices have one identifier for all messages of their lives.
        if now - self._said.get(thing, float("-inf")) < REPETITION_SECONDS:
            return False
        self._said[thing] = now
        self._said.move_to_end(thing)
        if len(self._said) > MOST_REMEMBERED:
            self._said.popitem(last=False)
        return True

    def refuse(self, sender: str, why: str) -> bool:
        """Count one that is not taken."""
        self._count(f"datagram of {sender}: {why}")
        self.refused += 1
        self.refused_at = self._clock()
        return False

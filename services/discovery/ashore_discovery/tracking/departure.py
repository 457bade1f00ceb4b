"""How long a configuration waits before a device that is absent is gone for it: grace, and the damping of flapping.

A device that comes and goes is held longer each time, so that its broker is not started and stopped all day.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta


class Flap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When departures are held, and for how long."""

    count: Annotated[int, Meta(ge=1, description="So many departures within the window are normal")] = 4
    window: Annotated[float, Meta(gt=0, description="In seconds")] = 600.0
    first_hold: Annotated[
        float, Meta(ge=0, description="How long the next one is held, in seconds; then it doubles")
    ] = 5.0
    max_hold: Annotated[float, Meta(ge=0, description="The longest hold, in seconds")] = 300.0


class Departure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an absent device is gone."""

    grace: Annotated[float, Meta(ge=0, le=86_400, description="Seconds after which an absent device is gone")] = 0.0
    flap: Flap = Flap()


DEFAULT: Final = Departure()
_MOST_DOUBLINGS: Final = 20
MOST_KEPT: Final = 64
"""So many departures of a device are remembered."""


def hold(rule: Departure, departures: list[float], now: float) -> float:
    """How many seconds a departure that was found now is held; `departures` are the earlier ones and this."""
    excess = excess_of(rule, departures, now)
    if excess <= 0:
        return rule.grace
    doubled = max(rule.flap.first_hold, rule.grace) * float(2 ** min(excess - 1, _MOST_DOUBLINGS))
    return max(rule.grace, min(doubled, rule.flap.max_hold))


def excess_of(rule: Departure, departures: list[float], now: float) -> int:
    """How many departures within the window are more than is normal."""
    return sum(now - at < rule.flap.window for at in departures) - rule.flap.count

"""The maintenance window: days of the week, and hours of a time zone. Pure.

Who starts the Job has looked at its window already; but a Job may wait for a node, or be started by hand.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NAMES: Final = ("MAINTENANCE_DAYS", "MAINTENANCE_FROM", "MAINTENANCE_UNTIL", "MAINTENANCE_TIME_ZONE")


@dataclass(frozen=True)
class Window:
    """It opens on each of the days; where it ends before it begins, that is on the day after."""

    days: frozenset[int]
    begin: time
    end: time
    zone: ZoneInfo

    def opens(self, now: datetime) -> datetime | None:
        """When it opens next; none where it is open."""
        for begin, end in self._around(now):
            if now < end:
                return None if begin <= now else begin.astimezone(self.zone)
        raise ValueError("a window without days")

    def _around(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        today = now.astimezone(self.zone).date()
        for number in range(-1, 15):
            day = today + timedelta(days=number)
            if day.weekday() not in self.days:
                continue
            last = day + timedelta(days=1) if self.end < self.begin else day
            begin = datetime.combine(day, self.begin, self.zone).astimezone(UTC)
            end = datetime.combine(last, self.end, self.zone).astimezone(UTC)
            # In the night in which clocks go forward its hours may not exist.
            if begin < end:
                yield begin, end


def read(environ: Mapping[str, str]) -> Window | None:
    """The window of the environment, if it has one; raise ValueError."""
    days, begin, end, zone = (environ.get(name, "").strip() for name in NAMES)
    if not (days or begin or end or zone):
        return None
    if not (begin and end):
        raise ValueError("a window needs MAINTENANCE_FROM and MAINTENANCE_UNTIL")
    if _time(begin) == _time(end):
        raise ValueError(f"a window from {begin} to {end} is never open; without MAINTENANCE_... it always is")
    return Window(_days(days), _time(begin), _time(end), _zone(zone or "UTC"))


def _days(text: str) -> frozenset[int]:
    named = text.lower().replace(",", " ").split() or list(DAYS)
    unknown = [day for day in named if day not in DAYS]
    if unknown:
        raise ValueError(f"MAINTENANCE_DAYS: {unknown[0][:32]!r} is none of {', '.join(DAYS)}")
    return frozenset(map(DAYS.index, named))


def _time(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").replace(tzinfo=UTC).time()
    except ValueError:
        raise ValueError(f"{text[:32]!r} is no time of a day such as 02:00") from None


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        # KeyError is ZoneInfoNotFoundError; OSError is a folder such as "Europe".
        raise ValueError(f"MAINTENANCE_TIME_ZONE: no time zone {text[:64]!r}; one is Europe/Berlin") from None

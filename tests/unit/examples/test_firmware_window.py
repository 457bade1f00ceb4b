"""The hours in which cameras may be upgraded, also in the nights in which clocks are changed."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from camera_firmware.window import Window, read

BERLIN = ZoneInfo("Europe/Berlin")


def window(begin: str = "02:00", end: str = "04:00", days: str = "", zone: str = "Europe/Berlin") -> Window:
    names = ("MAINTENANCE_FROM", "MAINTENANCE_UNTIL", "MAINTENANCE_DAYS", "MAINTENANCE_TIME_ZONE")
    found = read(dict(zip(names, (begin, end, days, zone), strict=True)))
    assert found is not None
    return found


def at(text: str) -> datetime:
    """A time of Berlin; the first where there are two."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


@pytest.mark.parametrize(
    ("given", "now", "opens"),
    [
        ({}, "2026-11-26 01:59:59", "2026-11-26 02:00"),
        ({}, "2026-11-26 02:00", None),
        ({}, "2026-11-26 03:59:59", None),
        ({}, "2026-11-26 04:00", "2026-11-27 02:00"),
        ({"days": "sat,sun"}, "2026-11-26 03:00", "2026-11-28 02:00"),
        ({"days": "SUN MON"}, "2026-11-28 05:00", "2026-11-29 02:00"),
        ({"days": "thu"}, "2026-11-26 04:00", "2026-12-03 02:00"),
        # Over midnight it belongs to the day on which it begins.
        ({"begin": "22:00", "end": "02:00", "days": "fri"}, "2026-11-28 01:00", None),
        ({"begin": "22:00", "end": "02:00", "days": "fri"}, "2026-11-27 01:00", "2026-11-27 22:00"),
        # On 29 March the clock goes from 02:00 to 03:00, on 25 October from 03:00 to 02:00.
        ({}, "2026-03-29 01:30", "2026-03-29 03:00"),
        ({}, "2026-03-29 03:30", None),
        ({"end": "03:00"}, "2026-03-29 01:30", "2026-03-30 02:00"),
        ({}, "2026-10-25 02:30", None),
    ],
)
def test_it_is_open_or_says_when_it_opens(given: dict[str, str], now: str, opens: str | None) -> None:
    assert window(**given).opens(at(now)) == (None if opens is None else at(opens))


def test_when_it_opens_is_told_in_its_own_time_zone() -> None:
    opens = window().opens(at("2026-11-26 12:00"))
    assert opens is not None
    assert opens.isoformat() == "2026-11-27T02:00:00+01:00"


def test_another_time_zone_is_another_window() -> None:
    assert window(zone="Asia/Tokyo").opens(at("2026-11-25 18:00")) is None
    assert window(zone="UTC").opens(at("2026-11-26 02:30")) is not None


def test_one_that_is_never_open_is_refused() -> None:
    with pytest.raises(ValueError, match="never open"):
        window("02:00", "02:00")


def test_where_nothing_is_said_there_is_none() -> None:
    assert read({}) is None

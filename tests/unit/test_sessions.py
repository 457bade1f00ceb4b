import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.sessions import Sealer, SessionTable, Spent, TokenExpired, TokenInvalid, TooManySessions

KEY = bytes(range(32))
LATER = 2_000_000_000
NOW = LATER - 60


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(payload=st.binary(max_size=400), purpose=st.text(max_size=20))
def test_what_is_sealed_can_be_opened(payload: bytes, purpose: str) -> None:
    sealer = Sealer(KEY)
    assert sealer.open(purpose, sealer.seal(purpose, payload, expires_at=LATER), now=NOW) == payload


def test_a_token_is_short_and_safe_in_a_header() -> None:
    token = Sealer(KEY).seal("to2", bytes(120), expires_at=LATER)
    assert len(token) == (1 + 12 + 5 + 120 + 16) * 4 // 3 + 1
    assert token.replace("-", "").replace("_", "").isalnum()


def test_two_tokens_of_the_same_state_differ() -> None:
    sealer = Sealer(KEY)
    first, second = (sealer.seal("to2", b"x", expires_at=LATER) for _ in range(2))
    assert first != second


@given(position=st.integers(min_value=0), letter=st.sampled_from("ABCxyz019-_=+/ \n\u00e9"))
def test_a_token_with_one_letter_changed_is_refused(position: int, letter: str) -> None:
    sealer = Sealer(KEY)
    token = sealer.seal("to2", b"the state of a session", expires_at=LATER)
    place = position % len(token)
    altered = token[:place] + letter + token[place + 1 :]
    if altered != token:
        with pytest.raises(TokenInvalid):
            sealer.open("to2", altered, now=NOW)


@given(text=st.text(max_size=200))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(TokenInvalid):
        Sealer(KEY).open("to2", text, now=NOW)


@given(cut=st.integers(min_value=1, max_value=60))
def test_a_truncated_token_is_refused(cut: int) -> None:
    sealer = Sealer(KEY)
    token = sealer.seal("to2", b"x" * 20, expires_at=LATER)
    with pytest.raises(TokenInvalid):
        sealer.open("to2", token[:-cut], now=NOW)


def test_a_second_spelling_of_a_token_is_refused() -> None:
    sealer = Sealer(KEY)
    token = next(t for t in iter(lambda: sealer.seal("to2", b"x", expires_at=LATER), None) if t[-1] == "A")
    assert base64.urlsafe_b64decode(token[:-1] + "B" + "==") == base64.urlsafe_b64decode(token + "==")
    with pytest.raises(TokenInvalid):
        sealer.open("to2", token[:-1] + "B", now=NOW)


def test_a_token_for_another_purpose_is_refused() -> None:
    sealer = Sealer(KEY)
    with pytest.raises(TokenInvalid):
        sealer.open("to1", sealer.seal("to2", b"x", expires_at=LATER), now=NOW)


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        Sealer(bytes(32)).open("to2", Sealer(KEY).seal("to2", b"x", expires_at=LATER), now=NOW)


def test_an_enormous_token_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        Sealer(KEY).open("to2", "A" * 100_000, now=NOW)


def test_a_token_is_good_until_its_expiry() -> None:
    sealer = Sealer(KEY)
    token = sealer.seal("to2", b"x", expires_at=LATER)
    assert sealer.open("to2", token, now=LATER - 1) == b"x"
    with pytest.raises(TokenExpired):
        sealer.open("to2", token, now=LATER)


def test_a_key_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(bytes(16))


def test_a_session_lives_for_its_lifetime() -> None:
    clock = Clock()
    table: SessionTable[str] = SessionTable(10, 60, clock)
    table.put("a", "state")
    clock.now += 59
    assert table.get("a") == "state"
    clock.now += 1
    assert table.get("a") is None


def test_a_session_that_moves_on_lives_longer() -> None:
    clock = Clock()
    table: SessionTable[str] = SessionTable(10, 60, clock)
    table.put("a", "first")
    clock.now += 40
    table.put("a", "second")
    clock.now += 40
    assert table.get("a") == "second"


def test_expired_sessions_are_dropped_and_told() -> None:
    clock, told = Clock(), []
    table: SessionTable[str] = SessionTable(10, 60, clock, lambda key, session: told.append((key, session)))
    table.put("a", "1")
    clock.now += 30
    table.put("b", "2")
    clock.now += 30
    assert table.expire() == 1
    assert (told, len(table)) == ([("a", "1")], 1)


def test_the_oldest_session_makes_room() -> None:
    told = []
    table: SessionTable[int] = SessionTable(2, 60, Clock(), lambda key, _: told.append(key))
    for number, key in enumerate("abc"):
        table.put(key, number)
    assert told == ["a"]
    assert [table.get(key) for key in "abc"] == [None, 1, 2]


def test_a_session_is_taken_once_and_not_told_as_expired() -> None:
    clock, told = Clock(), []
    table: SessionTable[str] = SessionTable(2, 60, clock, lambda key, _: told.append(key))
    table.put("a", "1")
    assert "a" in table
    assert table.take("a") == "1"
    assert table.take("a") is None
    clock.now += 100
    assert (table.expire(), told) == (0, [])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=60))
def test_a_table_never_grows_beyond_its_capacity_nor_keeps_the_dead(steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    table: SessionTable[int] = SessionTable(3, 60, clock)
    put_at: dict[str, float] = {}
    for key, pause in steps:
        clock.now += pause
        table.put(key, 0)
        put_at[key] = clock.now
        assert len(table) <= 3
        assert all(table.get(other) is None for other, then in put_at.items() if clock.now - then >= 60)
        assert table.get(key) == 0


def test_a_token_is_spent_once() -> None:
    spent = Spent(10)
    assert spent.spend("a", expires_at=100, now=50)
    assert not spent.spend("a", expires_at=100, now=51)
    assert "a" in spent


def test_a_full_set_forgets_what_has_expired_and_nothing_else() -> None:
    spent = Spent(2)
    spent.spend("a", expires_at=100, now=50)
    spent.spend("b", expires_at=200, now=50)
    with pytest.raises(TooManySessions):
        spent.spend("c", expires_at=300, now=99)
    assert spent.spend("c", expires_at=300, now=100)
    assert not spent.spend("b", expires_at=200, now=101)


class Counted(str):
    """A token that counts how often it is looked at."""

    __slots__ = ()
    looks = 0

    def __hash__(self) -> int:
        Counted.looks += 1
        return super().__hash__()


def test_what_a_full_set_refuses_costs_no_look_at_what_is_in_it() -> None:
    spent = Spent(1000)
    for number in range(1000):
        spent.spend(Counted(number), expires_at=100, now=50)
    Counted.looks = 0
    for number in range(100):
        with pytest.raises(TooManySessions):
            spent.spend(str(number + 1000), expires_at=100, now=50)
    assert Counted.looks == 0


def test_what_has_expired_is_not_kept_although_there_is_room() -> None:
    spent = Spent(1000)
    for now in range(500):
        spent.spend(str(now), expires_at=now + 10, now=now)
    assert len(spent) == 10


def test_what_was_spent_by_a_clock_that_was_ahead_keeps_nothing_else() -> None:
    spent = Spent(10)
    spent.spend("ahead", expires_at=100_000, now=99_990)
    for now in range(500):
        spent.spend(str(now), expires_at=now + 5, now=now)
    assert len(spent) == 6
    assert not spent.spend("ahead", expires_at=505, now=500)

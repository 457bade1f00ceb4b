import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.http.limits import Clients, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_admitted_and_then_the_rate() -> None:
    clock = Clock()
    limiter = RateLimiter(10, 3, clock)
    assert [limiter.admit("a") for _ in range(4)] == [True, True, True, False]
    clock.now += 0.1
    assert [limiter.admit("a") for _ in range(2)] == [True, False]


def test_one_client_does_not_use_up_what_another_may_send() -> None:
    limiter = RateLimiter(1, 1, Clock())
    assert limiter.admit("a")
    assert not limiter.admit("a")
    assert limiter.admit("b")


def test_an_ipv6_client_has_one_share_for_its_whole_network() -> None:
    limiter = RateLimiter(1, 1, Clock())
    assert limiter.admit("2001:db8:1:2::1")
    assert not limiter.admit("2001:db8:1:2:ffff::2")
    assert limiter.admit("2001:db8:1:3::1")
    assert limiter.admit("fe80::1%eth0")


def test_the_longest_silent_client_is_forgotten() -> None:
    limiter = RateLimiter(1, 1, Clock(), capacity=2)
    for client in ("a", "b", "a", "c"):
        limiter.admit(client)
    assert len(limiter) == 2
    assert not limiter.admit("a")
    assert limiter.admit("b")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=50))
def test_no_client_ever_gets_more_than_burst_and_rate(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    limiter = RateLimiter(2, 5, clock)
    admitted = {"a": 0, "b": 0}
    for client, pause in steps:
        clock.now += pause
        admitted[client] += limiter.admit(client)
        assert admitted[client] <= 5 + 2 * clock.now + 1e-6


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", b"203.0.113.9", "192.0.2.1"),
        ("10.0.0.1", b"203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"6.6.6.6, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("10.0.0.1", b"2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", b"10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", b"nonsense", "10.0.0.1"),
        ("10.0.0.1", b"nonsense, 10.0.0.7", "10.0.0.7"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"\xff\xfe", "10.0.0.1"),
        ("local", b"203.0.113.9", "local"),
    ],
)
def test_a_forwarded_address_is_read_from_the_right_up_to_the_first_stranger(
    peer: str, forwarded: bytes | None, client: str
) -> None:
    assert Clients(["10.0.0.0/8"]).address(peer, forwarded) == client


def test_without_trusted_proxies_nothing_is_believed() -> None:
    assert Clients([]).address("10.0.0.1", b"203.0.113.9") == "10.0.0.1"

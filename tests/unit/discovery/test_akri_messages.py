"""The messages of Akri's interface: read with limits, whatever strangers send."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.grpc import MessageError
from ashore_discovery.listening.akri import messages
from ashore_discovery.listening.akri.lists import Listed, ListError, Whole
from ashore_discovery.listening.akri.messages import read_list, read_registration, write_request
from ashore_discovery.model import Sighting


def field(number: int, body: bytes) -> bytes:
    """A field of bytes, as protobuf writes it; written here, so that no library checks itself."""
    return bytes([number << 3 | 2]) + varint(len(body)) + body


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def text(number: int, value: str) -> bytes:
    return field(number, value.encode())


def pairs(number: int, properties: dict[str, str]) -> bytes:
    return b"".join(field(number, text(1, name) + text(2, value)) for name, value in properties.items())


def device(id_: str = "x", properties: dict[str, str] | None = None, *more: bytes) -> bytes:
    return field(1, text(1, id_) + pairs(2, properties or {}) + b"".join(more))


async def read(*devices: bytes) -> Whole:
    return await read_list(b"".join(devices), 1.0)


def test_a_registration_is_read() -> None:
    body = text(1, "debugEcho") + text(2, "http://10.0.0.7:10000") + b"\x18\x01\x20\x01"
    found = read_registration(body)
    assert (found.name, found.endpoint, found.network, found.shared) == (
        "debugEcho",
        "http://10.0.0.7:10000",
        True,
        True,
    )
    assert not read_registration(text(1, "udev")).network


@pytest.mark.parametrize("body", [b"\x0a\xff", b"\x18\x07", text(1, "x")[:-1], field(1, b"\xff\xfe")])
def test_what_is_no_registration_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError):
        read_registration(body)


def test_a_request_is_written_and_a_property_without_a_value_is_none() -> None:
    body = write_request("a: 1", {"user": b"anna", "nothing": None, "empty": b""})
    expected = [
        text(1, "a: 1"),
        field(2, text(1, "user") + field(2, text(1, "anna"))),
        field(2, text(1, "nothing") + field(2, b"")),
        field(2, text(1, "empty") + field(2, text(1, ""))),
    ]
    assert body == b"".join(expected)


async def test_a_device_is_read_whole() -> None:
    mount = field(3, text(1, "/in") + text(2, "/out") + b"\x18\x01")
    node = field(4, text(1, "/dev/in") + text(2, "/dev/out") + text(3, "rw"))
    found = (await read(device("x", {"A": "1"}, mount, node))).devices["x"]
    assert found.properties == {"A": "1"}
    assert (found.mounts[0].container_path, found.mounts[0].host_path, found.mounts[0].read_only) == (
        "/in",
        "/out",
        True,
    )
    assert (found.device_nodes[0].host_path, found.device_nodes[0].permissions) == ("/dev/out", "rw")


@pytest.mark.parametrize(
    "bad",
    [
        device("x" * 513),
        device(""),
        device("x", {"A": "1" * 5000}),
        device("x", {"A=B": "1"}),
        device("x", {"": "1"}),
        device("x", {"A": "\0"}),
        device("x", {f"A{number}": "1" for number in range(200)}),
        device("x", {f"A{number}": "\x01" * 4000 for number in range(10)}),
        device("x", {}, field(3, text(1, "in") + text(2, "/out"))),
        device("x", {}, field(3, text(1, "/in") + text(2, "/out/../../etc"))),
        device("x", {}, field(4, text(2, "/dev/x") + text(3, "rwx"))),
        device("x", {}, *[field(3, text(1, "/in") + text(2, "/out"))] * 65),
    ],
)
async def test_a_device_out_of_bounds_is_left_out_and_the_others_stay(bad: bytes) -> None:
    found = await read(bad, device("good"))
    assert list(found.devices) == ["good"]
    assert len(found.unusable) == 1


async def test_of_a_device_that_is_too_large_the_id_is_known() -> None:
    found = await read(device("x", {f"A{number}": "1" * 4000 for number in range(13)}))
    assert "bytes" in found.unusable["x"]


async def test_a_list_that_is_too_long_is_refused_before_its_devices_are_read() -> None:
    with pytest.raises(ListError, match="2000 are taken"):
        await read(*[b"\x0a\x00"] * 100_000)


async def test_of_two_with_the_same_id_the_first_counts() -> None:
    found = await read(device("x", {"A": "1"}), device("x", {"A": "2"}))
    assert found.devices["x"].properties == {"A": "1"}


async def bounded(body: bytes) -> None:
    try:
        found = await read_list(body, 0.0)
    except ListError:
        return
    for one in found.devices.values():
        assert isinstance(one, Listed)
        # What is taken fits into a sighting, so that it is never dropped above.
        Sighting(id=one.id, facts=dict(one.properties)).check()


@given(st.binary(max_size=400))
async def test_any_bytes_are_a_list_or_a_reason(body: bytes) -> None:
    await bounded(body)


ANY_TEXT = st.text("aé/=\0", max_size=6) | st.sampled_from(["/dev/x", "/", "rwm"])
ANY_PAIRS = st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=3)


@st.composite
def any_device(draw: Any) -> bytes:
    parts = [text(1, draw(ANY_TEXT))]
    parts += [field(2, text(1, name) + text(2, value)) for name, value in draw(ANY_PAIRS)]
    parts += [field(3, text(1, one) + text(2, two)) for one, two in draw(ANY_PAIRS)]
    parts += [field(4, text(2, one) + text(3, two)) for one, two in draw(ANY_PAIRS)]
    return field(1, b"".join(parts))


@given(st.lists(any_device(), max_size=5), st.binary(max_size=5))
async def test_nearly_right_lists_are_a_list_or_a_reason(devices: list[bytes], rest: bytes) -> None:
    await bounded(b"".join(devices) + rest)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_registration_or_a_reason(body: bytes) -> None:
    try:
        messages.read_registration(body)
    except MessageError:
        return

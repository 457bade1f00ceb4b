"""There is one way to write each message: what means the same and is written in another way is refused."""

import base64
from collections.abc import Callable, Iterator

import pytest

from ashore import cbor, cose
from ashore.fdo import rvinfo
from ashore.fdo.errors import FdoError, VoucherError
from ashore.fdo.messages import MESSAGES, is_encrypted
from ashore.fdo.voucher import Voucher
from tests import fdo_kit as kit
from tests.fuzz.recordings import recorded


def altered(item: object, alter: Callable[[bytes], object]) -> Iterator[object]:
    """The item with each of its byte strings, one at a time, replaced by what `alter` makes of it."""
    if isinstance(item, bytes):
        yield alter(item)
    if isinstance(item, list):
        for index, part in enumerate(item):
            yield from ([*item[:index], other, *item[index + 1 :]] for other in altered(part, alter))


@pytest.mark.parametrize("number", [10, 11, 12, 21, 22, 30, 31, 60, 66, 68, 69, 70, 71])
def test_text_does_not_pass_for_a_byte_string(number: int) -> None:
    for body in recorded(f"{number}_*.cbor"):
        if is_encrypted(body):
            continue
        for other in altered(cbor.loads(body), lambda data: base64.b64encode(data).decode()):
            with pytest.raises(FdoError):
                MESSAGES[number].decode(cbor.dumps(other))


def test_text_does_not_pass_for_a_byte_string_in_a_voucher() -> None:
    voucher = kit.owned()[1]
    for other in altered(voucher.item(), lambda data: base64.b64encode(data).decode()):
        with pytest.raises(VoucherError):
            Voucher.decode(cbor.dumps(other))


@pytest.mark.parametrize("header", [[], b"", "", [[1, 2]], ["ab"]])
def test_only_a_map_is_a_header(header: object) -> None:
    with pytest.raises(cose.CoseError, match="not a map"):
        cose.Sign1.of(cbor.loads(cbor.dumps(cbor.Tag(cbor.COSE_SIGN1, [b"", header, b"", b""]))))


def test_a_version_is_an_integer() -> None:
    voucher = kit.owned()[1]
    with pytest.raises(VoucherError, match="is an array of"):
        Voucher.decode(cbor.dumps([101.0, *voucher.item()[1:]]))


def test_a_protocol_that_does_not_exist_is_none() -> None:
    (directive,) = rvinfo.decode([[[5, cbor.dumps("a")], [12, cbor.dumps(-6)]]])
    assert (directive.dns, directive.protocol) == ("a", None)
    assert directive.urls() == []


@pytest.mark.parametrize("port", [0, -1, 65_536, 1 << 63, True, 80.5, "80"])
def test_a_port_that_cannot_be_is_left_out(port: object) -> None:
    info = [[[5, cbor.dumps("a")], [12, cbor.dumps(1)], [3, cbor.dumps(port)], [4, cbor.dumps(port)]]]
    (directive,) = rvinfo.decode(info)
    assert directive.urls() == directive.urls(owner=True) == ["http://a:80"]


@pytest.mark.parametrize(
    "name", ["", "a/b", "u@a", "a:1", "[", "[::1]", "a b", "a\n", "a\x00", "a?b", "a#b", "a%zz", "\\a"]
)
def test_a_name_that_would_be_more_than_a_host_is_left_out(name: str) -> None:
    info = [[[5, cbor.dumps(name)], [2, cbor.dumps(b"\x7f\0\0\1")], [12, cbor.dumps(1)]]]
    (directive,) = rvinfo.decode(info)
    assert directive.urls() == ["http://127.0.0.1:80"]


@pytest.mark.parametrize(
    "name",
    [
        "a" * 64,
        "a..b",
        ".",
        ".a",
        "\u00ad",
        "\u2100.a",
        "a\uff0fb",
        "a\uff20b",
        "a!",
        ".".join(["a" * 60] * 5),
        "0.0.0.0",
    ],
)
def test_a_name_that_dns_cannot_have_leads_nowhere(name: str) -> None:
    (directive,) = rvinfo.decode([[[5, cbor.dumps(name)], [12, cbor.dumps(1)]]])
    assert directive.dns == name
    assert directive.urls() == directive.urls(owner=True) == []


@pytest.mark.parametrize("name", ["a", "rv.example.", "xn--bcher-kva.example", "b\u00fccher.example", "_a-1.local"])
def test_a_name_that_dns_can_have_leads_there(name: str) -> None:
    (directive,) = rvinfo.decode([[[5, cbor.dumps(name)], [12, cbor.dumps(1)]]])
    assert directive.urls() == [f"http://{name}:80"]


@pytest.mark.parametrize("packed", [bytes(4), bytes(16), b"\xff" * 4, b"\xe0\0\0\1", b"\xff\2" + bytes(13) + b"\1"])
def test_an_address_that_no_host_has_leads_nowhere(packed: bytes) -> None:
    info = [[[2, cbor.dumps(packed)], [12, cbor.dumps(1)]]]
    (directive,) = rvinfo.decode(info)
    assert directive.ip is not None
    assert directive.urls() == directive.urls(owner=True) == []

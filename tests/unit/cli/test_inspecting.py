"""`ashore voucher inspect`: a file is judged without any service."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ashore.fdo import voucher as vouchers
from ashore_cli.app import app
from ashore_cli.errors import DONE, REFUSED, CommandError
from ashore_cli.inspecting import inspection
from tests import fdo_kit


def inspect(file: Path, *words: str) -> object:
    return app(["voucher", "inspect", str(file), *words], result_action="return_int_as_exit_code_else_zero")


@pytest.mark.parametrize("kind", fdo_kit.KINDS)
def test_a_good_voucher_shows_its_chain_of_owners(kind: str) -> None:
    _, voucher, _ = fdo_kit.owned(kind, sales=2)

    found = inspection(voucher)

    assert (found.verified, found.reason) == (True, "")
    assert len(found.owners) == 3
    assert found.rendezvous == ["http://rv.example:8040"]
    assert found.device_info == "gotest"


def test_a_forged_entry_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, good, _ = fdo_kit.owned(sales=2)
    _, other, _ = fdo_kit.owned(sales=2)
    forged = replace(good, entries=(good.entries[0], other.entries[1]))
    file = tmp_path / "vouchers.pem"
    file.write_text(vouchers.to_pem(good) + vouchers.to_pem(forged))

    assert inspect(file, "-o", "json") == REFUSED
    first, second = json.loads(capsys.readouterr().out)
    assert first["verified"]
    assert not second["verified"]
    assert "entry 1" in second["reason"]


def test_cbor_is_read_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, voucher, _ = fdo_kit.owned()
    file = tmp_path / "voucher.cbor"
    file.write_bytes(voucher.encode())

    assert inspect(file, "-o", "table") == DONE
    assert voucher.guid.hex() in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_voucher_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)

    with pytest.raises(CommandError) as caught:
        inspect(file)
    assert caught.value.remedy

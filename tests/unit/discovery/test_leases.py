"""Leases of DHCP servers: three forms of files, and what is new in them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_discovery.handlers.leases import LeaseFile, read

DNSMASQ = "1800000000 ac:cc:8e:0a:0b:0c 10.1.2.3 pump 01:ac:cc:8e:0a:0b:0c\nduid 00:01:00:01:2a\n"
KEA = "address,hwaddr,client_id,valid_lifetime,expire\n10.1.2.3,ac:cc:8e:0a:0b:0c,,3600,1800000000,1,0,0,pump,0,\n"
ISC = """\
# The format of this file is documented in the dhcpd.leases(5) manual page; see 10.9.9.9
lease 10.1.2.3 {
  starts 4 2026/11/26 10:00:00;
  hardware ethernet ac:cc:8e:0a:0b:0c;
}
"""


@pytest.mark.parametrize("text", [DNSMASQ, KEA, ISC], ids=["dnsmasq", "kea", "isc"])
def test_the_files_of_three_servers_are_read(text: str) -> None:
    assert list(read(text)) == ["10.1.2.3"]


def test_addresses_of_ipv6_have_one_spelling() -> None:
    assert list(read("1800000000 1234 FD00:0::9 pump 00:01\n")) == ["fd00::9"]


@given(st.text(max_size=400))
def test_any_text_is_a_file_of_leases(text: str) -> None:
    read(text)


def test_what_was_there_is_no_news_and_what_is_given_then_is(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    path.write_text(DNSMASQ)
    file = LeaseFile(path)
    assert not file.changed()
    path.write_text(DNSMASQ + DNSMASQ.replace("10.1.2.3", "10.1.2.4"))
    assert file.changed()
    assert file.news() == ["10.1.2.4"]
    assert not file.changed()


def test_a_lease_that_is_renewed_is_told_again(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    file = LeaseFile(path)
    assert not file.changed()
    for text in (ISC, ISC + ISC, DNSMASQ, DNSMASQ.replace("1800000000", "1800003600")):
        # An editor replaces it as a whole.
        draft = path.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(path)
        assert file.news() == ["10.1.2.3"]
    path.unlink()
    assert file.changed()
    assert file.news() == []

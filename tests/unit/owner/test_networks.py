"""Which rendezvous an owner contacts: never what cannot be one, and else what the setting says."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.config import SettingsError
from ashore_owner.config import OwnerSettings
from ashore_owner.networks import Contacts, off_limits

NEVER = [
    "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32", "168.63.129.16/32",
    "192.0.0.192/32",
]  # fmt: skip
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(lambda text: "--" not in text)
TOP = st.from_regex(r"[a-z]{2,8}", fullmatch=True)
ADDRESSES = st.ip_addresses().map(str)


def within(network: str) -> st.SearchStrategy[ipaddress.IPv4Address]:
    return st.ip_addresses(network=network)


def disguises(address: ipaddress.IPv4Address) -> list[str]:
    """Every way to write it, as IPv6 has them."""
    packed = int(address)
    six = ((0xFFFF << 32) | packed, (0x64_FF9B << 96) | packed, (0x2002 << 112) | (packed << 80))
    return [str(address), *(str(ipaddress.IPv6Address(value)) for value in six)]


@given(st.one_of(*(within(network) for network in NEVER)))
def test_what_is_off_limits_stays_so_in_every_disguise(address: ipaddress.IPv4Address) -> None:
    for written in disguises(address):
        assert off_limits(written), written


@pytest.mark.parametrize(
    "address",
    ["::", "fe80::1", "fe80::1%eth0", "febf::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "255.255.255.255"],
)
def test_where_no_rendezvous_can_be_is_off_limits(address: str) -> None:
    assert off_limits(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.0.1.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
        "fc00::1", "fd00:1::1", "192.0.2.1", "2001:db8::1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808",
    ],
)  # fmt: skip
def test_private_addresses_and_this_machine_may_be_a_rendezvous(address: str) -> None:
    assert off_limits(address) is None
    assert Contacts().allow("rv.example", address)


@given(st.text(), ADDRESSES)
def test_without_a_list_every_host_is_allowed(host: str, address: str) -> None:
    assert Contacts().look_up(host)
    assert Contacts().allow(host, address)


@given(st.sampled_from(["0.0.0.0/0", "fd00::/8"]), st.integers(8, 32), st.data())
def test_a_network_allows_its_own_addresses_and_no_others(space: str, bits: int, data: st.DataObject) -> None:
    one, other = (data.draw(st.ip_addresses(network=space)) for _ in range(2))
    contacts = Contacts([f"{one}/{bits}"])
    assert contacts.look_up("rv.example")
    assert contacts.allow("rv.example", str(one))
    inside = other in ipaddress.ip_network(f"{one}/{bits}", strict=False)
    assert contacts.allow("rv.example", str(other)) == inside


@given(within("10.2.0.0/16"), within("10.3.0.0/16"))
def test_a_network_is_meant_in_every_disguise(inside: ipaddress.IPv4Address, outside: ipaddress.IPv4Address) -> None:
    contacts = Contacts(["10.2.0.0/16"])
    mapped, translated, tunnel = disguises(inside)[1:]
    assert contacts.allow("rv", mapped)
    assert contacts.allow("rv", translated)
    assert not contacts.allow("rv", tunnel), "the tunnel itself is not in the list"
    assert not any(contacts.allow("rv", written) for written in disguises(outside))


@given(LABEL, LABEL, TOP, ADDRESSES)
def test_a_star_stands_for_one_label(first: str, second: str, top: str, address: str) -> None:
    contacts = Contacts([f"*.{second}.{top}"])
    assert contacts.allow(f"{first}.{second}.{top}", address)
    assert contacts.allow(f"{first}.{second}.{top}.".upper(), address)
    for host in (f"{second}.{top}", f"a.{first}.{second}.{top}", f"{first}{second}.{top}", f"{first}.{second}.{top}.a"):
        assert contacts.allow(host, address) == (host == f"{first}.{second}.{top}"), host


@given(LABEL, TOP, LABEL, TOP, ADDRESSES)
def test_a_name_allows_itself_wherever_it_is(label: str, top: str, other: str, end: str, address: str) -> None:
    contacts = Contacts([f"{label}.{top}".upper()])
    assert contacts.look_up(f"{label}.{top}.")
    assert contacts.allow(f"{label}.{top}", address)
    if (other, end) != (label, top):
        assert not contacts.look_up(f"{other}.{end}")
        assert not contacts.allow(f"{other}.{end}", address)


@given(st.text(), ADDRESSES)
def test_no_text_of_a_voucher_breaks_the_matcher(host: str, address: str) -> None:
    contacts = Contacts(["*.example.com", "rv.example"])
    assert contacts.allow(host, address) == contacts.look_up(host)


def test_a_name_counts_as_the_resolver_asks_for_it() -> None:
    assert Contacts(["bücher.example"]).allow("xn--bcher-kva.example", "192.0.2.1")
    assert Contacts(["rv.example"]).allow("RV\uff0eexample", "192.0.2.1")


@pytest.mark.parametrize(
    "text",
    [
        "http://rv.example",
        "rv:8040",
        "*",
        "*.*.example",
        "rv.*.example",
        "a..b",
        "",
        "10.0.0.300",
        "10.0.0.0/33",
        "a b",
    ],
)
def test_what_is_neither_host_nor_network_is_told_by_its_setting(text: str) -> None:
    (problem,) = OwnerSettings(rendezvous_hosts=[text]).check()
    assert problem.startswith(f"ASHORE_RENDEZVOUS_HOSTS has '{text}': expected a host name")


def test_the_setting_takes_names_and_networks() -> None:
    given = {"ASHORE_RENDEZVOUS_HOSTS": "rv.example.com, *.plant.local,10.2.0.0/16,fd00:1::/32,192.0.2.7,localhost"}
    settings = OwnerSettings.load(given)
    assert len(settings.rendezvous_hosts) == 6
    assert Contacts(settings.rendezvous_hosts).allow("rv.plant.local", "192.0.2.1")
    with pytest.raises(SettingsError, match="ASHORE_RENDEZVOUS_HOSTS has 'rv:80'"):
        OwnerSettings.load({"ASHORE_RENDEZVOUS_HOSTS": "rv:80"})

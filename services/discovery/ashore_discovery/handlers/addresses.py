"""Addresses as texts: beside a port, and those that mean this node itself."""

import ipaddress


def bracketed(host: str) -> str:
    """A host as it stands in URLs: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def with_port(host: str, port: int) -> str:
    """Both of them."""
    return f"{bracketed(host)}:{port}"


def is_loopback(address: str) -> bool:
    """Whether the address is on this node, with or without a scope; raise ValueError where it is none.

    Who connects to no address connects to itself, and what is written as IPv6 and leads to IPv4 is judged by that.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    return bool(mapped.is_loopback or mapped.is_unspecified)

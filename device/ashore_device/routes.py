"""Where a device looks for its owner: rendezvous directives and the owner's addresses, as URLs in the order to try.

Only http and https are spoken. Everything else in a directive (Wi-Fi, media, other protocols) is somebody else's
business on a Linux machine, whose network is up before this program starts. Where a directive names the certificate of
an https server by its hash, only that one will do; the owner's addresses, which come later, name none.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from ashore.fdo import rvinfo
from ashore.fdo.credential import Credential
from ashore.fdo.errors import InvalidMessageError
from ashore.fdo.types import To2Address, Transport
from ashore_device.credential_file import Candidate, Record
from ashore_device.pinning import Pins

LONGEST_PAUSE: Final = 86_400.0
"""Seconds that rendezvous info may have a device wait: for all pauses within one search, and for the one after it.

On the wire a delay has up to 136 years, and an owner's slip of the pen would cost a visit with a new initialisation. A
day is more than any pause that spares a network or a battery needs (the C client takes an hour at most), and an
operator who mends the rendezvous sees the device the next day.
"""
_SCHEMES: Final = {Transport.HTTP: "http", Transport.HTTPS: "https"}
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")


class Route(NamedTuple):
    """One way to try one credential."""

    candidate: Candidate
    url: str
    bypass: bool = False
    """The URL is the owner's own, so the rendezvous is not asked."""
    delay: float = 0.0
    """Seconds to wait when this has led nowhere, before the next is tried."""
    pins: Pins = Pins()
    """The certificates that the server must have."""


def routes(record: Record) -> Iterator[Route]:
    """All ways of a record, in order.

    A device that knows more than one credential was cut off from its owner at the very end. It goes to that owner
    straight away, where the answer to the question is, and only then to the rendezvous.
    """
    if not record.confirmed:
        for url in dict.fromkeys(candidate.owner_url for candidate in record.candidates if candidate.owner_url):
            yield from (Route(candidate, url, bypass=True) for candidate in record.candidates)
    for candidate in record.candidates:
        # The delays pace the search for an owner: once for all credentials, not once for each.
        yield from _directives(candidate, patient=candidate is record.candidates[-1])


def owner_urls(addresses: list[To2Address]) -> list[str]:
    """Where the owner listens, the DNS name of each address first; what is not HTTP is left out."""
    urls: list[str] = []
    for address in addresses:
        scheme = _SCHEMES.get(address.protocol)
        if scheme is None:
            continue
        hosts = [address.dns] if address.dns and _HOST.fullmatch(address.dns) else []
        urls += [f"{scheme}://{host}:{address.port}" for host in (*hosts, *_ip(address.ip))]
    return list(dict.fromkeys(urls))


def last_delay(record: Record) -> float | None:
    """Seconds that the last directive asks for before the search begins anew, None where it says nothing."""
    directives = _read(record.candidates[-1])
    asked = directives[-1].delay_seconds if directives else None
    return None if asked is None else min(asked, LONGEST_PAUSE)


def check_new(old: Credential, new: Credential) -> None:
    """Raise InvalidMessageError where an owner gives new rendezvous info that leads a device nowhere, for ever.

    What is merely not reached now may be tomorrow. What is not new makes nothing worse: the device came here with it.
    """
    if new.rv_info != old.rv_info and not any(each.urls() for each in _read(Candidate(credential=new))):
        raise InvalidMessageError(
            "the owner's new rendezvous info has no address that this device could ask over http or https, so the "
            "device keeps its credential: correct the info at the owner"
        )


def _directives(candidate: Candidate, *, patient: bool) -> Iterator[Route]:
    directives = _read(candidate)
    left = LONGEST_PAUSE if patient else 0.0
    for directive in directives:
        urls = directive.urls()
        for url in urls:
            paced = url == urls[-1] and directive is not directives[-1]
            delay = min(directive.delay_seconds or 0.0, left) if paced else 0.0
            left -= delay
            yield Route(candidate, url, bypass=directive.rv_bypass, delay=delay, pins=_pins(directive))


def _pins(directive: rvinfo.Directive) -> Pins:
    # Over http there is no certificate, and nothing that one could protect: FDO does that by itself.
    return Pins(directive.sv_cert_hash, directive.cl_cert_hash) if directive.protocol == "https" else Pins()


def _read(candidate: Candidate) -> list[rvinfo.Directive]:
    """What a device may use; directives for owners alone are not its business."""
    return [each for each in rvinfo.decode(candidate.credential.rv_info) if not each.owner_only]


def _ip(packed: bytes | None) -> list[str]:
    if packed is None:
        return []
    try:
        text = rvinfo.unpacked(packed)
    except ValueError:
        # Neither 4 nor 16 bytes.
        return []
    return [f"[{text}]" if ":" in text else text]

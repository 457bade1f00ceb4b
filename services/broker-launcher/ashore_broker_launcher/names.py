"""Names of instances, as Akri gives them: whoever knows Akri finds the same resources here.

The digest is BLAKE2b with an output of three bytes over the device's id, for a device that only one node can see
followed by the node's name. With 24 bits two devices of one configuration can meet: who makes instances looks for that,
and takes a longer digest for the later one.
"""

import hashlib
from typing import Final

from ashore.events import token_of

DIGEST_BYTES: Final = 3
LONGER_DIGEST_BYTES: Final = 8
LONGEST_INSTANCE: Final = 63
"""`akri.sh/<instance>` is an extended resource, and the part behind the slash is a label at most."""
LONGEST_CONFIGURATION: Final = LONGEST_INSTANCE - 1 - 2 * LONGER_DIGEST_BYTES
RESOURCE_PREFIX: Final = "akri.sh/"
_LONGEST_READABLE: Final = 100


def digest(device: str, node: str = "", size: int = DIGEST_BYTES) -> str:
    """Hex digits for a device; the node only where no other node can see it."""
    return hashlib.blake2b(f"{device}{node}".encode(), digest_size=size).hexdigest()


def instance_name(configuration: str, digest: str) -> str:
    """The name of an instance."""
    return f"{configuration}-{digest}"


def digest_of(configuration: str, instance: str) -> str:
    """The digest in an instance's name."""
    return instance.removeprefix(f"{configuration}-")


def cdi_name(configuration: str, digest: str) -> str:
    """The name of a device in the Container Device Interface."""
    return f"{RESOURCE_PREFIX}{configuration}={digest}"


def bus_name(namespace: str, configuration: str) -> str:
    """The name under which agents know a configuration. A namespace has no dot, so no two get one name."""
    return f"{namespace}.{configuration}"


def bus_token(namespace: str, configuration: str) -> str:
    """The configuration as a part of a subject: readable, and with a digest, as a dot and a dash look alike there."""
    name = bus_name(namespace, configuration)
    return f"{token_of(name)[:_LONGEST_READABLE]}-{digest(name)}"


def from_bus_name(name: str) -> tuple[str, str]:
    """Namespace and name of a configuration that agents know; two empty texts where it is none of ours."""
    namespace, dot, configuration = name.partition(".")
    return (namespace, configuration) if dot else ("", "")

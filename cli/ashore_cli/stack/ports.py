"""Which ports a stack listens on: the usual ones, the usual ones moved, or any free ones."""

import errno
import socket
from contextlib import ExitStack
from typing import Final, NamedTuple, Self

from ashore_cli.errors import USAGE, CommandError

LARGEST: Final = 65_535
_ANY: Final = ("0.0.0.0", "::")


class PortsTaken(CommandError):  # noqa: N818 - named by the condition that callers act on
    """Other programs listen on some of the ports."""


class Ports(NamedTuple):
    """One port for each listener, with the usual values."""

    manufacturer: int = 8039
    rendezvous: int = 8040
    owner: int = 8042
    discovery: int = 8045
    broker_launcher: int = 8046
    nats: int = 4222
    monitor: int = 8222
    mqtt: int = 1883

    @classmethod
    def moved(cls, offset: int) -> Self:
        """The usual ports plus an offset."""
        ports = cls(*(port + offset for port in cls()))
        if not all(0 < port <= LARGEST for port in ports):
            raise CommandError(
                f"an offset of {offset} leads to ports that are not between 1 and {LARGEST}",
                remedy="choose another one",
                code=USAGE,
            )
        return ports

    @classmethod
    def free(cls) -> Self:
        """Any that are free now."""
        with ExitStack() as held:
            # All are held until the last is chosen, so no port is chosen twice.
            return cls(*(_free(held) for _ in cls._fields))

    def of(self, name: str) -> int:
        """The port of a listener."""
        return int(getattr(self, name.replace("-", "_")))

    def taken(self, address: str) -> list[tuple[str, int]]:
        """Those that other programs listen on."""
        places = dict.fromkeys(("manufacturer", "rendezvous", "owner", "discovery", "broker_launcher"), address)
        return [
            (name, self.of(name)) for name in self._fields if _is_taken(places.get(name, "127.0.0.1"), self.of(name))
        ]

    def check(self, address: str) -> None:
        """Raise PortsTaken where other programs listen."""
        if taken := self.taken(address):
            words = ", ".join(f"{port} ({name.replace('_', '-')})" for name, port in taken)
            raise PortsTaken(
                f"other programs listen on the ports that ashore needs: {words}",
                remedy="stop them, or move all ports: `--port-offset 1000`",
            )


def check_address(address: str) -> None:
    """Raise CommandError for an address that is none of this machine, or none that devices could use."""
    if address in _ANY:
        raise CommandError(
            f"{address} is no address under which devices find this machine",
            remedy="give the one that they shall use: `--address 192.0.2.7`, say",
        )
    _is_taken(address, 0)


def _free(held: ExitStack) -> int:
    listener = held.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    return int(listener.getsockname()[1])


def _is_taken(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do, so that a port which is only winding down counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise CommandError(
                f"cannot listen on {address}{f', port {port}' if port else ''}: {error.strerror}",
                remedy="choose an address of this machine",
            ) from error
    return False

"""What a handler is given besides its settings: a clock, secrets by reference, the networks that it may speak to."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ashore_discovery.handler import HandlerError
from ashore_discovery.limits import NEARBY, Network, Pace

_MOST_BYTES: Final = 64 * 1024


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """The same for all handlers of a node."""

    clock: Callable[[], float]
    secrets: Path | None = None
    """The folder that references to files begin in."""
    networks: Sequence[str] = NEARBY
    questions_per_second: float = 50.0

    def network(self) -> Network:
        """Which addresses may be spoken to."""
        return Network(self.networks)

    def pace(self) -> Pace:
        """How fast one listener may ask."""
        return Pace(self.questions_per_second, int(self.questions_per_second), self.clock)

    def secret(self, reference: str) -> str:
        """The secret behind `file:NAME` or `env:NAME`; raise HandlerError. Configurations hold only the reference."""
        scheme, _, name = reference.partition(":")
        if scheme == "env" and name in os.environ:
            return os.environ[name]
        if scheme == "file" and self.secrets is not None:
            path = (self.secrets / name).resolve()
            if path.is_relative_to(self.secrets.resolve()):
                try:
                    return path.read_bytes()[:_MOST_BYTES].decode().strip()
                except (OSError, UnicodeDecodeError) as error:
                    raise HandlerError(f"the secret {reference} cannot be read: {error}") from error
        raise HandlerError(
            f"there is no secret '{reference}': write file:NAME, below the folder ASHORE_SECRETS_DIR, or env:NAME"
        )

"""Import this first in a service's `__main__`: it keeps two libraries out of a server's memory.

structlog draws tracebacks with rich wherever rich is installed, and nats-py imports aiohttp for its websocket
transport wherever aiohttp is installed. No service uses either; an image of a service has neither. Where the command
line shares the virtual environment they cost 5 and 11 MB per process, and this module saves them. It must not be
imported by a library module: the command line itself needs rich.
"""

import sys
from typing import Final

UNWANTED: Final = ("rich", "aiohttp")

for _name in UNWANTED:
    # None makes the import fail as if the library were not installed; both callers are prepared for that.
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # documented by importlib, unknown to typeshed

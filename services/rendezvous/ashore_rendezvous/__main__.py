"""`python -m ashore_rendezvous`."""

import sys

import ashore.lean  # noqa: F401 - first, because what it keeps out must not be imported before
from ashore.service import run
from ashore_rendezvous.app import build
from ashore_rendezvous.config import RendezvousSettings

if __name__ == "__main__":
    sys.exit(run("rendezvous", RendezvousSettings, build))

"""`python -m ashore_owner`."""

import sys

import ashore.lean  # noqa: F401 - first, because what it keeps out must not be imported before
from ashore.service import run
from ashore_owner.app import build
from ashore_owner.config import OwnerSettings

if __name__ == "__main__":
    sys.exit(run("owner", OwnerSettings, build))

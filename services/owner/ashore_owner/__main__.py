"""`python -m ashore_owner`."""

import sys

from ashore.service import run
from ashore_owner.app import build
from ashore_owner.config import OwnerSettings

if __name__ == "__main__":
    sys.exit(run("owner", OwnerSettings, build))

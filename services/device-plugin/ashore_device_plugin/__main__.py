"""`python -m ashore_device_plugin`."""

import sys

import ashore.lean  # noqa: F401 - first, because what it keeps out must not be imported before
from ashore_device_plugin.app import run

if __name__ == "__main__":
    sys.exit(run())

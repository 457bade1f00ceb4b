"""`python -m ashore_manufacturer`."""

import sys

import ashore.lean  # noqa: F401 - first, because what it keeps out must not be imported before
from ashore.service import run
from ashore_manufacturer.app import build
from ashore_manufacturer.config import ManufacturerSettings

if __name__ == "__main__":
    sys.exit(run("manufacturer", ManufacturerSettings, build))

"""`python -m ashore_broker_launcher`."""

import sys

import ashore.lean  # noqa: F401 - first, because what it keeps out must not be imported before
from ashore.service import run
from ashore_broker_launcher.app import build
from ashore_broker_launcher.config import BrokerLauncherSettings

if __name__ == "__main__":
    sys.exit(run("broker-launcher", BrokerLauncherSettings, build))

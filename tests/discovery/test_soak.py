"""One percent of all packets is lost, and nothing that is there is said to be gone; `make soak` does it for an hour."""

import os
import shutil

import pytest

from tests.discovery.namespaces import NEEDS_NAMESPACES
from tests.discovery.soak import handlers, soak

SECONDS = float(os.environ.get("ASHORE_TEST_SOAK_SECONDS", "20"))

pytestmark = [
    NEEDS_NAMESPACES,
    pytest.mark.skipif(not handlers(), reason="no handler of networks is installed that has a peer here"),
    pytest.mark.skipif(
        shutil.which("tc") is None or shutil.which("nft") is None,
        reason="it loses packets: needs tc (iproute2), or nftables where the kernel has no netem",
    ),
]


@pytest.mark.timeout(SECONDS + 140)
async def test_lost_packets_remove_no_device_and_a_real_departure_is_told() -> None:
    found = await soak(SECONDS)
    print(found)
    assert found.removals == []
    assert found.left >= found.devices

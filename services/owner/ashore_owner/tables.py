"""The owner's tables. Times are milliseconds since 1970; GUIDs and fingerprints are lower-case hex."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

from ashore.sql.outbox import outbox as declare_outbox
from ashore.sql.prefix import TEXT

metadata = MetaData()

devices = Table(
    "devices",
    metadata,
    Column("guid", String(32), primary_key=True),
    Column("serial", TEXT, nullable=False),
    Column("device_info", Text, nullable=False),
    Column("owner_key", String(64), nullable=False),
    Column("origin", Text, nullable=False),
    Column("voucher", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("profile", Text),
    Column("session", String(32)),  # Of the onboarding that began last: only that one may end.
    Column("session_at", BigInteger),
    Column("attempts", Integer, nullable=False, default=0),
    Column("failure", LargeBinary),
    Column("onboarded_at", BigInteger),
    Column("replaces", String(32)),
    Column("replaced_by", String(32)),
    Column("sold_to", String(64)),
    Column("sold_voucher", LargeBinary),
    Column("to0_due", BigInteger),
    Column("to0_attempts", Integer, nullable=False, default=0),
    Column("to0_error", Text),
    Column("registered_until", BigInteger),
    Index("devices_by_serial", "serial", "guid"),
    Index("devices_by_age", "received_at", "guid"),
    Index("devices_by_state", "state", "received_at", "guid"),
    Index("devices_by_to0_due", "to0_due"),
)

onboardings = Table(
    "onboardings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("guid", String(32), nullable=False),
    Column("new_guid", String(32)),
    Column("profile", Text, nullable=False),
    Column("result", String(16), nullable=False),
    Column("credential_reuse", Boolean, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("devmod", LargeBinary),
    Column("steps", LargeBinary, nullable=False),
    Index("onboardings_by_guid", "guid", "ended_at"),
    Index("onboardings_by_new_guid", "new_guid"),
)

files = Table(
    "files",
    metadata,
    Column("onboarding", String(32), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("kind", String(16), primary_key=True),  # profile, rules or resource
    Column("name", String(200), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

waiting = Table(
    "waiting",
    metadata,
    Column("guid", String(32), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
    Index("waiting_by_age", "last_seen"),
)

outbox = declare_outbox(metadata)

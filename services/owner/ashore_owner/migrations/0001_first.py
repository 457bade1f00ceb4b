"""The owner's first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "devices",
        sa.Column("guid", sa.String(length=32), nullable=False),
        sa.Column("serial", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("device_info", sa.Text(), nullable=False),
        sa.Column("owner_key", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("voucher", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("profile", sa.Text(), nullable=True),
        sa.Column("session", sa.String(length=32), nullable=True),
        sa.Column("session_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failure", sa.LargeBinary(), nullable=True),
        sa.Column("onboarded_at", sa.BigInteger(), nullable=True),
        sa.Column("replaces", sa.String(length=32), nullable=True),
        sa.Column("replaced_by", sa.String(length=32), nullable=True),
        sa.Column("sold_to", sa.String(length=64), nullable=True),
        sa.Column("sold_voucher", sa.LargeBinary(), nullable=True),
        sa.Column("to0_due", sa.BigInteger(), nullable=True),
        sa.Column("to0_attempts", sa.Integer(), nullable=False),
        sa.Column("to0_error", sa.Text(), nullable=True),
        sa.Column("registered_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("guid"),
    )
    op.create_index("devices_by_age", "devices", ["received_at", "guid"], unique=False)
    op.create_index("devices_by_serial", "devices", ["serial", "guid"], unique=False)
    op.create_index("devices_by_state", "devices", ["state", "received_at", "guid"], unique=False)
    op.create_index("devices_by_to0_due", "devices", ["to0_due"], unique=False)
    op.create_table(
        "documents",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
    )
    op.create_table(
        "files",
        sa.Column("onboarding", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("onboarding", "position"),
    )
    op.create_table(
        "onboardings",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("guid", sa.String(length=32), nullable=False),
        sa.Column("new_guid", sa.String(length=32), nullable=True),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("credential_reuse", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("devmod", sa.LargeBinary(), nullable=True),
        sa.Column("steps", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("onboardings_by_guid", "onboardings", ["guid", "ended_at"], unique=False)
    op.create_index("onboardings_by_new_guid", "onboardings", ["new_guid"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "waiting",
        sa.Column("guid", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("guid"),
    )
    op.create_index("waiting_by_age", "waiting", ["last_seen"], unique=False)

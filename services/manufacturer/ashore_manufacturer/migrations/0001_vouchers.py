"""Vouchers, what people have set, and the events that wait for the bus."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "vouchers",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("guid", sa.String(32), nullable=False, unique=True),
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("device_info", TEXT, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("key_type", sa.String(16), nullable=False),
        sa.Column("owner_key", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("extended_at", sa.BigInteger, nullable=True),
        sa.Column("voucher", sa.LargeBinary, nullable=False),
    )
    op.create_index("vouchers_by_serial", "vouchers", ["serial", "id"])
    op.create_index("vouchers_by_state", "vouchers", ["state", "id"])
    op.create_index("vouchers_by_state_and_serial", "vouchers", ["state", "serial", "id"])
    op.create_table(
        "documents",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("outbox")
    op.drop_table("documents")
    op.drop_table("vouchers")

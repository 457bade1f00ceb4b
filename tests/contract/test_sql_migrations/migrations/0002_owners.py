"""Owners, whose voucher must exist by the end of the transaction; and an alteration, which SQLite does by copying."""

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    op.create_table(
        "owners",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column(
            "guid", sa.String(32), sa.ForeignKey("vouchers.guid", deferrable=True, initially="DEFERRED"), nullable=False
        ),
    )
    with op.batch_alter_table("vouchers") as vouchers:
        vouchers.alter_column("serial", existing_type=sa.Text, type_=sa.String(256))


def downgrade() -> None:
    op.drop_table("owners")

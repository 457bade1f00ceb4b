# ruff: noqa: INP001 - Alembic loads it by its path, it is in no package.
"""What Alembic runs around the version files of every service.

The connection is already inside the transaction that holds the lock, so all migrations are applied, or none.
"""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()

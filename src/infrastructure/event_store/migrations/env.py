"""Runs inside the transaction that `migrate` opened, which holds the lock."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()

"""The log, what decisions depend on, and the append."""

from importlib.resources import files

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    folder = files("infrastructure.event_store")
    cursor = op.get_bind().connection.cursor()
    for script in ("schema.sql", "append.sql", "work.sql", "check.sql"):
        cursor.execute(folder.joinpath(script).read_text())

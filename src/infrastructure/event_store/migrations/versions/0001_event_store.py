"""The log, what decisions depend on, and the append."""

from alembic import op

from infrastructure.event_store.schema import first_scripts, made_of

revision = "0001"
down_revision = None


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    for script in first_scripts():
        cursor.execute(script)
    cursor.execute("UPDATE log SET made_of = %s", (made_of(),))

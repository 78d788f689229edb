"""The eventsourcing library over the same log and the same append: for replay, export and audit.

The service itself is asynchronous and uses PostgresEventStore; this is for offline tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    ProgrammingError,
    StoredEvent,
    Subscription,
)
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from eventsourcing.utils import get_topic
from psycopg.conninfo import conninfo_to_dict
from pydantic_core import to_json

from infrastructure.event_store.mapper import JsonMapper

CONNECT_SECONDS = 5


class AppendRecorder(PostgresApplicationRecorder):
    """The library's recorder, its writing replaced by `append_v1`."""

    def __init__(
        self, datastore: PostgresDatastore, *, events_table_name: str = "stored_events"
    ) -> None:
        if events_table_name != "stored_events":
            raise ProgrammingError("append_v1 writes to stored_events and nowhere else.")
        super().__init__(datastore, events_table_name=events_table_name)

    def create_table(self) -> None:
        """Nothing: `darkroom migrate` makes the tables."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Record events of one decision; their positions.

        Raises IntegrityError when one of them, or another at its place, is recorded already.
        """
        if kwargs:
            raise ProgrammingError(f"The append takes no {', '.join(kwargs)} from the library.")
        if not stored_events:
            return []
        outcome = self._append(stored_events)
        if outcome["outcome"] != "accepted" or outcome["repeated"]:
            raise IntegrityError(f"The events were not recorded: {outcome['outcome']}.")
        last: int = outcome["position"]
        return list(range(last - len(stored_events) + 1, last + 1))

    def subscribe(
        self,
        gt: int | None = None,  # noqa: ARG002  # the library's signature
        topics: Sequence[str] = (),  # noqa: ARG002  # as above
    ) -> Subscription[ApplicationRecorder]:
        """Refused: the library's subscription may miss what is recorded while it starts.

        It reads before it listens, and never polls (its issue 305 is of the same kind).
        """
        raise ProgrammingError(
            "A subscription may miss events. Page through select_notifications, or use a Follower."
        )

    def _append(self, stored_events: Sequence[StoredEvent]) -> dict[str, Any]:
        events = [
            {
                "id": event.originator_id,
                "version": event.originator_version,
                "topic": event.topic,
                "state": event.state.decode(),
            }
            for event in stored_events
        ]
        command = to_json({"events": events}).decode()
        with self.datastore.get_connection() as connection:
            row = connection.execute(
                "SELECT append_v1(ARRAY[%s]::jsonb[]) AS outcomes", (command,)
            ).fetchone()
        return cast(dict[str, Any], row["outcomes"][0]) if row else {}


class EventLog(Application[UUID]):
    """The library's application over the log: repository and notification log, offline."""

    name = ""  # the library's name for the table is then stored_events

    def __init__(self, database_url: str) -> None:
        super().__init__(_environment(database_url))
        if not isinstance(self.recorder, AppendRecorder):
            raise TypeError("The event log is read through PostgreSQL, never from memory.")

    def construct_mapper(self) -> JsonMapper:
        """Ours, with its closed registry."""
        return JsonMapper()


def _environment(database_url: str) -> dict[str, str]:
    """The library's settings for this database; never its db functions, which take no lock."""
    parts = conninfo_to_dict(database_url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "APPLICATION_RECORDER_TOPIC": get_topic(AppendRecorder),
        "CREATE_TABLE": "n",
        "POSTGRES_ENABLE_DB_FUNCTIONS": "n",
        "POSTGRES_DBNAME": str(parts["dbname"]),
        "POSTGRES_HOST": str(parts.get("host", "")),
        "POSTGRES_PORT": str(parts.get("port", 5432)),
        "POSTGRES_USER": str(parts.get("user", "")),
        "POSTGRES_PASSWORD": str(parts.get("password", "")),
        "POSTGRES_CONNECT_TIMEOUT": str(CONNECT_SECONDS),
    }

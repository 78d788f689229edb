"""The log of requests that a figure filled, seen from outside: nothing counts that is not in it."""

from __future__ import annotations

from typing import Any

import psycopg

from bench.figures import BenchError

REQUESTS = "FROM stored_events WHERE topic = 'generation.requested@1'"
AT_WORK = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'pgbench' AND state <> 'idle'
"""


class Log:
    """Its requests, over a connection of its own."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._noted = self._requests()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def position(self) -> int:
        """Of the last event."""
        return int(self._value("SELECT coalesce(max(notification_id), 0) FROM stored_events"))

    def expect(self, more: int) -> None:
        """Raises BenchError when the requests are not just so many more than at the last note."""
        expected = self._noted + more
        self.take_note()
        if self._noted != expected:
            raise BenchError(
                f"{expected} requests should be in the log, there are {self._noted}: some were "
                "refused. At midnight (UTC) the quota's windows change; run it again."
            )

    def take_note(self) -> None:
        """What is here now was expected."""
        self._noted = self._requests()

    def rate_since(self, position: int) -> float:
        """Requests a second behind `position`, from the first one recorded to the last one."""
        return float(
            self._value(
                "SELECT coalesce((count(*) - 1) / nullif(extract(epoch FROM"
                f" max(recorded_at) - min(recorded_at)), 0), 0) {REQUESTS}"
                " AND notification_id > %s",
                position,
            )
        )

    def pgbench_is_at_work(self) -> bool:
        """Whether sessions of pgbench still execute what it sent."""
        return bool(self._value(AT_WORK))

    def _requests(self) -> int:
        return int(self._value(f"SELECT count(*) {REQUESTS}"))

    def _value(self, query: str, *parameters: int) -> Any:
        (value,) = self._connection.execute(query, parameters).fetchone() or (None,)
        return value

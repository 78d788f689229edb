"""From the commit of a request to the provider's being called."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import psycopg

from bench.figures import Figure, Latency
from bench.http import Connection
from bench.one_at_a_time import SETTING, TIMES, finished, idle_service, pause
from bench.servers import Servers


async def take(servers: Servers) -> Figure:
    """By PostgreSQL's `recorded_at` and the sketch's own ledger; both read this machine's clock."""
    async with idle_service(servers) as service:
        connection = await Connection.open(service.port)
        for _ in range(TIMES):
            await pause()
            await finished(connection, service)
        connection.close()
        recorded, called = _recorded(service.database_url), _called(service.ledger)
    waits = tuple(
        (called[id_] - at).total_seconds() * 1000 for id_, at in list(recorded.items())[-TIMES:]
    )
    return Figure(
        title="Commit to provider call",
        setting=SETTING,
        measured=(
            Latency(
                "from recorded_at to the call", waits, (50, 95, 99), at_most={50: 30.0, 95: 60.0}
            ),
        ),
    )


def _recorded(database_url: str) -> dict[str, datetime]:
    """When each request was recorded, by id, in the order of the log."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT originator_id::text, recorded_at FROM stored_events"
            " WHERE topic = 'generation.requested@1' ORDER BY notification_id"
        ).fetchall()
    return dict(rows)


def _called(ledger: Path) -> dict[str, datetime]:
    entries = map(json.loads, ledger.read_text().splitlines())
    return {
        entry["generation"]: datetime.fromisoformat(entry["at"])
        for entry in entries
        if entry["event"] == "called"
    }

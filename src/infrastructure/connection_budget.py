"""How many connections to PostgreSQL each process may take, summed from where they are made."""

from __future__ import annotations

from dataclasses import dataclass

from infrastructure.event_store import announcing, appender, dispatching, follower, news, store
from infrastructure.read_models import Fetch, discover

# A process of each type is known by a connection that it always has, and has once.
LOOK = """
SELECT least(current_setting('max_connections')::int
             - current_setting('superuser_reserved_connections')::int
             - coalesce(current_setting('reserved_connections', true)::int, 0),
             (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()),
             (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user)),
       count(*) FILTER (WHERE application_name = 'darkroom news')::int,
       count(*) FILTER (WHERE application_name = 'darkroom dispatcher')::int,
       count(*) FILTER (WHERE application_name ~ %s)::int,
       count(*) FILTER (WHERE application_name NOT LIKE 'darkroom %%' OR application_name ~ %s
                        AND pid <> pg_backend_pid())::int
  FROM pg_stat_activity
 WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
"""


# Commands that an operator runs beside the processes.
COMMANDS = "^darkroom (check|replay|retry-parked|migrate|doctor)( |$)"


def connections_of_each() -> dict[str, int]:
    """The most that one process of each type takes, its first moment aside."""
    of_a_store = store.READERS + appender.CONNECTIONS
    return {
        "api": of_a_store + news.CONNECTIONS,
        "worker": of_a_store + dispatching.CONNECTIONS + announcing.CONNECTIONS + news.CONNECTIONS,
        "projector": len(discover()) * follower.CONNECTIONS,
    }


@dataclass(frozen=True)
class Budget:
    """What PostgreSQL gives to anybody, who is at work, and what others have."""

    usable: int
    processes: dict[str, int]
    others: int

    @property
    def reserved(self) -> int:
        """What the processes at work take at most, and what others have now."""
        each = connections_of_each()
        return sum(each[name] * count for name, count in self.processes.items()) + self.others

    @property
    def free(self) -> int:
        """What is left when all take what they may."""
        return self.usable - self.reserved

    @property
    def wanted(self) -> int:
        """What a rolling restart needs beside them: one more of each."""
        return sum(connections_of_each().values())


async def connection_budget(fetch: Fetch) -> Budget:
    """Raises StoreUnavailableError."""
    a_follower = f"^darkroom follower {discover()[0].name}_v[0-9]+$"  # of any release
    usable, apis, workers, projectors, others = (await fetch(LOOK, (a_follower, COMMANDS)))[0]
    processes = {"api": apis, "worker": workers, "projector": projectors}
    return Budget(usable, processes, others)

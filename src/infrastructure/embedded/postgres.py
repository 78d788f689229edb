"""A PostgreSQL server of one's own, on a folder of one's own."""

import signal
from pathlib import Path

import psycopg

from infrastructure.embedded.binaries import postgres_binaries
from infrastructure.embedded.cluster import USER, Cluster
from infrastructure.embedded.leftovers import clear_stale_lock, end_leftovers
from infrastructure.embedded.run_as import THIS_USER, who_runs
from infrastructure.embedded.server import EmbeddedServer

DATABASE = "darkroom"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may not be longer than 107 bytes
    "shared_buffers": "128MB",
    "max_connections": "100",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # What people write never reaches the log: no statement, no parameter, no row of an error.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "vacuum_cost_delay": "2ms",  # one by hand shares the processors as autovacuum does
}
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL with a database `darkroom`, whose data, password and log are in one folder.

    `durable=False` is for tests: a crash of the machine may then destroy the data.
    """

    name = "PostgreSQL"
    seconds_to_start = 60.0  # after a crash it first replays its log
    # Fast: sessions are cut, everything is written down. Immediate: the next start replays.
    ways_to_end = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 6.0))

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder)
        self._durable = durable
        self._run_as = THIS_USER
        self._cluster = Cluster(self.folder)

    @property
    def url(self) -> str:
        """The address of the database, with the user's name and password."""
        return f"postgresql://{USER}:{self._cluster.password}@127.0.0.1:{self._port}/{DATABASE}"

    def _prepare(self) -> None:
        self._run_as = who_runs(postgres_binaries() / "postgres", self.folder)
        self._cluster.create_unless_there(
            postgres_binaries() / "initdb", self._run_as, durable=self._durable
        )
        end_leftovers(self._cluster.data)
        clear_stale_lock(self._cluster.data)

    def _clean_up(self) -> None:
        end_leftovers(self._cluster.data)

    def _command(self, port: int) -> list[str]:
        settings = _SETTINGS | (_DURABLE if self._durable else _NOT_DURABLE) | {"port": str(port)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [str(postgres_binaries() / "postgres"), "-D", str(self._cluster.data), *options]
        # An immediate shutdown takes its backends along; SIGKILL would leave that to them.
        return self._run_as.command(command, at_parents_death=signal.SIGQUIT)

    def _answers(self, port: int) -> bool:
        try:
            connection = psycopg.connect(
                host="127.0.0.1",
                port=port,
                user=USER,
                password=self._cluster.password,
                dbname="postgres",
                sslmode="disable",
                gssencmode="disable",
                connect_timeout=5,
                autocommit=True,
            )
        except psycopg.OperationalError:
            return False
        with connection:
            _create_database_unless_there(connection)
        return True


def _create_database_unless_there(connection: psycopg.Connection) -> None:
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
    if found.fetchone() is None:
        connection.execute(f"CREATE DATABASE {DATABASE}")

"""A Redis server of one's own: it only wakes workers up, so it keeps nothing on the disk."""

import secrets
import signal
import socket
from pathlib import Path

from infrastructure.embedded.binaries import redis_binaries
from infrastructure.embedded.server import EmbeddedServer
from infrastructure.leash import leashed

_CONFIGURATION = """\
bind 127.0.0.1
requirepass {password}
save ""
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
tcp-backlog 128
daemonize no
"""


class EmbeddedRedis(EmbeddedServer):
    """Redis with a password of its own, whose log is in one folder; its data ends with it."""

    name = "Redis"
    seconds_to_start = 10.0
    ways_to_end = ((signal.SIGTERM, 2.0),)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """The address of the first database, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def _command(self, port: int) -> list[str]:
        program = str(redis_binaries() / "redis-server")
        return leashed([program, "-", "--port", str(port)], at_parents_death=signal.SIGKILL)

    def _input(self) -> bytes:
        # Not on the command line, where every user of the machine could read the password.
        return _CONFIGURATION.format(password=self._password).encode()

    def _answers(self, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\nQUIT\r\n".encode())
                with connection.makefile("rb") as answers:
                    return answers.read().startswith(b"+OK\r\n+PONG\r\n")
        except OSError:
            return False

"""PostgreSQL and Redis for one machine, started from the binaries of two wheels."""

from infrastructure.embedded.errors import DataFolderInUseError, EmbeddedServerError
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.redis import EmbeddedRedis
from infrastructure.embedded.server import EmbeddedServer

__all__ = [
    "DataFolderInUseError",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "EmbeddedServer",
    "EmbeddedServerError",
]

"""A process that owns a PostgreSQL and a Redis in the folder named on its command line.

It prints their addresses as soon as both are ready and stops them when its standard input ends.
"""

import sys
from pathlib import Path

from infrastructure.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServerError

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        with (
            EmbeddedPostgres(folder / "postgres") as postgres,
            EmbeddedRedis(folder / "redis") as redis,
        ):
            sys.stdout.write(f"{postgres.url} {redis.url}\n")
            sys.stdout.flush()
            sys.stdin.read()
    except EmbeddedServerError as error:
        sys.exit(str(error))

"""A read model made anew from the whole log, by a follower in a process of its own."""

from __future__ import annotations

import argparse
import asyncio

import psycopg

from bench.filling import project
from infrastructure.read_models import discover

START_OVER = "UPDATE follower_positions SET version = 0 WHERE name = %s"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database_url")
    parser.add_argument("name")
    given = parser.parse_args()
    (read_model,) = (model for model in discover() if model.name == given.name)
    with psycopg.connect(given.database_url) as connection:
        connection.execute(START_OVER, (given.name,))
    asyncio.run(project(given.database_url, read_model))


if __name__ == "__main__":
    _main()

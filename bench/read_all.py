"""Reads the whole log page by page through the event store, as an export does, until it is told."""

from __future__ import annotations

import argparse
import asyncio

from bench.stores import opened_store

PAGE = 1000


async def read_for_ever(database_url: str) -> None:
    """From the first event to the last, and again."""
    async with opened_store(database_url) as store:
        position = 0
        while True:
            page = await store.read(after=position, limit=PAGE)
            position = page[-1].position if page else 0


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database_url")
    asyncio.run(read_for_ever(parser.parse_args().database_url))


if __name__ == "__main__":
    _main()

"""The machine that the figures were taken on."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

from bench.figures import Latency

PACKAGES = ("psycopg", "psycopg-pool", "fastapi", "uvicorn", "pydantic", "eventsourcing", "arq")
WAL_PAGE = bytes(8192)
PAGES = 512
FLUSHES = 200


def commit_latency(folder: Path) -> Latency:
    """What the disk under `folder` needs to make one page of PostgreSQL's log durable."""
    file = os.open(folder / "flushed", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(file, WAL_PAGE * PAGES, 0)  # PostgreSQL too flushes into files it made before
        os.fsync(file)
        times = tuple(_flush(file, page % PAGES) for page in range(FLUSHES))
    finally:
        os.close(file)
    return Latency("write 8 KB, fdatasync", times, percentiles=(50, 95, 99))


def _flush(file: int, page: int) -> float:
    began = time.perf_counter()
    os.pwrite(file, WAL_PAGE, page * len(WAL_PAGE))
    os.fdatasync(file)
    return (time.perf_counter() - began) * 1000


def load() -> str:
    """How busy it was over the last 1, 5 and 15 minutes."""
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


def processors() -> str:
    """How many may be used, and what they call themselves."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(os.sched_getaffinity(0))} x {names[0] if names else platform.machine()}"


def versions() -> dict[str, str]:
    """Of Python and of what stands in the way of a request."""
    return {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES}

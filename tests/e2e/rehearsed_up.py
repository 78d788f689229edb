"""`darkroom up` with children of its own that only tell, in FOLDER/diary, what happens to them.

Its argument is how the rehearsal goes: `well`; `badly`, with a migration that fails; `slowly`, with
one that does not end; `stubbornly`, with a worker that does not stop.
"""

import asyncio
import http.server
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import psycopg

from infrastructure.settings import load_settings
from interfaces.cli.up import Programs, up

CHILDREN = ("api", "worker", "projector")


def rehearse(how: str) -> int:
    """Run `up` until it ends."""

    def play(part: str) -> list[str]:
        return [sys.executable, "-m", "tests.e2e.rehearsed_up", how, part]

    programs = Programs(play("migrate"), {name: play(name) for name in CHILDREN})
    return asyncio.run(up(load_settings(), programs))


def play(how: str, part: str) -> None:
    """Be one of the programs."""
    if part == "migrate":
        note(f"{part} started {os.getpid()}")
        time.sleep(60 if how == "slowly" else 0)
        sys.exit("The tables do not fit." if how == "badly" else 0)

    def told_to_stop(_number: int, _frame: FrameType | None) -> None:
        note(f"{part} told to stop")
        if part == "worker":
            work_to_the_end(how)
        sys.exit()

    signal.signal(signal.SIGTERM, told_to_stop)
    note(f"{part} started {os.getpid()}")
    if part == "api":
        serve()
    time.sleep(60)


def work_to_the_end(how: str) -> None:
    """Record what was under way, for which the database must still be there."""
    time.sleep(60 if how == "stubbornly" else 0)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE recorded AS SELECT 'the last picture' AS what")
    note("worker recorded")


def serve() -> None:
    """Answer as an API that is ready."""
    address = (os.environ["DARKROOM_HOST"], int(os.environ["DARKROOM_PORT"]))
    http.server.HTTPServer(address, _Ready).serve_forever()


class _Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def note(what: str) -> None:
    """Add a line to the diary."""
    with Path(os.environ["DIARY"]).open("a") as diary:
        diary.write(f"{what}\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        play(sys.argv[1], sys.argv[2])
    else:
        sys.exit(rehearse(sys.argv[1]))

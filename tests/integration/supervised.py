"""Supervises children that only tell what happens to them, until told to stop.

`python -m tests.integration.supervised FOLDER NAME...`: each child notes in FOLDER/diary that it
has started and that it was told to stop. `stubborn` does not listen, `short` ends by itself.
"""

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

from infrastructure.processes import Supervisor

CHILD = textwrap.dedent("""
    import os, signal, subprocess, sys, time
    name, diary = sys.argv[1:]

    def note(what):
        with open(diary, "a") as file:
            file.write(f"{name} {what} {os.getpid()}\\n")

    def told(*_):
        note("told")
        if name != "stubborn":
            sys.exit()

    signal.signal(signal.SIGTERM, told)
    print(f'{{"event": "hello from {name}"}}')
    if name == "parent":
        note(f"grandchild {subprocess.Popen(['sleep', '60']).pid}")
    note("started")
    while name != "short":
        time.sleep(60)
    """)


def supervisor_of(folder: Path, *names: str, grace: float = 20) -> Supervisor:
    """A supervisor of children with these names."""
    commands = {name: [sys.executable, "-c", CHILD, name, str(folder / "diary")] for name in names}
    return Supervisor(commands, os.environ, grace=dict.fromkeys(names, grace))


async def supervise(folder: Path, *names: str) -> None:
    """Keep the children until SIGTERM, or until Ctrl-C."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    supervisor = supervisor_of(folder, *names)
    await supervisor.start()
    await told.wait()
    await supervisor.stop()


if __name__ == "__main__":
    asyncio.run(supervise(Path(sys.argv[1]), *sys.argv[2:]))

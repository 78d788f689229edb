"""The supervisor: real children that die, are told to stop, or lose their parent."""

from __future__ import annotations

import asyncio
import logging
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infrastructure.processes import Backoff, Supervisor
from tests.integration.supervised import supervisor_of

SUPERVISED = [sys.executable, "-m", "tests.integration.supervised"]


async def test_a_child_that_is_killed_is_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = supervisor_of(tmp_path, "api")
    await supervisor.start()
    try:
        first = await pid_of("started", tmp_path)
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(diary(tmp_path)) == 2)
        assert await pid_of("started", tmp_path) != first
    finally:
        await supervisor.stop()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.__dict__["child"] == "api"
    assert record.__dict__["end"] == "SIGKILL"


async def test_a_child_that_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path, "short")
    await supervisor.start()
    await until(lambda: len(diary(tmp_path)) == 3)
    await supervisor.stop()


async def test_a_program_that_is_missing_is_tried_again_without_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    supervisor = Supervisor({"ghost": ["/does/not/exist"]}, os.environ)
    await supervisor.start()
    await until(lambda: len(caplog.records) == 2)
    await supervisor.stop()
    assert {record.__dict__["end"] for record in caplog.records} == {"exit status 127"}


async def test_children_are_told_to_stop_one_after_the_other(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path, "api", "worker", "projector")
    await supervisor.start()
    await until(lambda: len(diary(tmp_path)) == 3)
    await supervisor.stop()
    told = [line.split()[0] for line in diary(tmp_path) if "told" in line]
    assert told == ["api", "worker", "projector"]


async def test_a_child_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path, "stubborn", grace=3)
    await supervisor.start()
    child = await pid_of("started", tmp_path)
    await supervisor.stop()
    assert any("told" in line for line in diary(tmp_path))
    assert not is_alive(child)


async def test_a_second_ctrl_c_ends_the_wait_for_a_child(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path, "stubborn", "projector", grace=60)
    await supervisor.start()
    await until(lambda: len(diary(tmp_path)) == 2)
    stopping = asyncio.create_task(supervisor.stop())
    await until(lambda: any("told" in line for line in diary(tmp_path)))
    supervisor.kill()
    await asyncio.wait_for(stopping, 5)


async def test_stopping_during_the_start_leaves_nobody_behind(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path, "api")
    await supervisor.start()
    await asyncio.wait_for(supervisor.stop(), 5)
    assert not any(is_alive(int(line.split()[-1])) for line in diary(tmp_path))


async def test_what_a_child_has_started_ends_with_it(tmp_path: Path) -> None:
    supervisor = supervisor_of(tmp_path, "parent")
    await supervisor.start()
    parent = await pid_of("started", tmp_path)
    grandchild = int(diary(tmp_path)[0].split()[2])
    os.kill(parent, signal.SIGKILL)
    await until(lambda: not is_alive(grandchild))
    await supervisor.stop()


def test_killing_the_supervisor_ends_its_children(tmp_path: Path) -> None:
    with subprocess.Popen([*SUPERVISED, tmp_path, "api", "stubborn"]) as supervisor:
        wait_until(lambda: len(diary(tmp_path)) == 2)
        supervisor.kill()
    children = [int(line.split()[-1]) for line in diary(tmp_path)]
    wait_until(lambda: not any(map(is_alive, children)))


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_alone(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    supervisor = subprocess.Popen(
        ["setsid", "--ctty", *SUPERVISED, tmp_path, "api", "worker"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    wait_until(lambda: len(diary(tmp_path)) == 2)
    os.write(master, b"\x03")
    assert supervisor.wait(20) == 0
    os.close(master)
    told = [line.split()[0] for line in diary(tmp_path) if "told" in line]
    assert told == ["api", "worker"]


def test_on_a_terminal_each_line_gets_the_name_of_its_child(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    with subprocess.Popen([*SUPERVISED, tmp_path, "api", "worker"], stdout=terminal) as supervisor:
        os.close(terminal)
        shown = b""
        while shown.count(b"\n") < 2:
            shown += os.read(master, 10_000)
        supervisor.terminate()
    os.close(master)
    assert sorted(shown.decode().splitlines()) == [
        'api    | {"event": "hello from api"}',
        'worker | {"event": "hello from worker"}',
    ]


def test_elsewhere_lines_pass_untouched_and_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*SUPERVISED, tmp_path, "api"], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        line = supervisor.stdout.readline()
        supervisor.terminate()
    assert line == '{"event": "hello from api"}\n'


def test_pauses_double_up_to_a_limit_and_start_anew_after_a_long_life() -> None:
    backoff = Backoff()
    assert [backoff.pause_after(lived=1) for _ in range(6)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert backoff.pause_after(lived=10) == 0.2
    assert backoff.pause_after(lived=1) == 0.4


def diary(folder: Path) -> list[str]:
    path = folder / "diary"
    return path.read_text().splitlines() if path.exists() else []


async def pid_of(what: str, folder: Path) -> int:
    """The process that was the last to note this."""
    await until(lambda: any(what in line for line in diary(folder)))
    return int([line for line in diary(folder) if what in line][-1].split()[-1])


def is_alive(pid: int) -> bool:
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def until(condition: Callable[[], object], within: float = 20) -> None:
    give_up_at = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within} s"
        await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], within: float = 20) -> None:
    give_up_at = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within} s"
        time.sleep(0.005)

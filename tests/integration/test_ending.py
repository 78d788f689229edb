"""Processes end when they are told to, even if a disk never answers."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest

from infrastructure.readiness import IMAGES_SILENT
from tests.e2e.stack import free_port
from tests.hanging_disk import HANGING_DISK, TOLD
from tests.processes import SECONDS_TO_WAIT, Process, Processes, eventually

WITHOUT_THREADS = "ended without waiting for threads that do not end"
HANGING = """
import asyncio, logging, threading
from interfaces.cli.endings import whatever_threads_do

async def hang(how):
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    await asyncio.sleep(0.1)
    exec(how)

logging.basicConfig()
with asyncio.Runner() as runner, whatever_threads_do():
    runner.run(hang({how!r}))
"""


def ends_in_time(process: Process) -> bool:
    status = process.stop()
    assert WITHOUT_THREADS in [line["event"] for line in process.entries()]
    return status == 0


async def test_an_api_whose_readiness_waits_for_a_hanging_disk_ends_when_it_is_told_to(
    one_service: Processes,
) -> None:
    port = free_port()
    api = one_service.start("api", program=HANGING_DISK, DARKROOM_PORT=str(port))

    async def sees_that_the_disk_hangs() -> bool:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            try:
                told = (await client.get("/readyz", timeout=10)).json()
            except httpx.TransportError:
                return False
        return any("image store does not answer" in reason for reason in told["reasons"])

    await eventually(sees_that_the_disk_hangs)
    assert ends_in_time(api)


async def test_an_api_that_serves_a_picture_from_a_hanging_disk_ends_when_it_is_told_to(
    one_service: Processes,
) -> None:
    port = free_port()
    api = one_service.start("api", program=HANGING_DISK, DARKROOM_PORT=str(port))

    async def hangs() -> bool:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=2) as client:
            try:
                await client.get("/images/of/1-f.png")
            except httpx.ReadTimeout:
                return TOLD in api.log.read_text()
            except httpx.TransportError:
                return False
        raise AssertionError("the disk has answered")

    await eventually(hangs)
    assert ends_in_time(api)


async def test_a_worker_whose_sweep_waits_for_a_hanging_disk_ends_when_it_is_told_to(
    one_service: Processes,
) -> None:
    worker = one_service.start("worker", program=HANGING_DISK)

    async def hangs() -> bool:
        return TOLD in worker.log.read_text()

    await eventually(hangs, why=worker.log.read_text())
    assert ends_in_time(worker)


def test_doctor_says_of_a_hanging_disk_that_it_does_not_answer(one_service: Processes) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", *HANGING_DISK, "doctor", "--json"],
        env=one_service.environment,
        capture_output=True,
        timeout=SECONDS_TO_WAIT,
        check=False,
    )

    findings = {finding["name"]: finding for finding in json.loads(ended.stdout)["findings"]}
    assert findings["image store"]["sentence"] == IMAGES_SILENT.wrong
    assert findings["orphaned files"]["sentence"] == IMAGES_SILENT.wrong
    assert ended.returncode == 1


@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        ("", 0, ""),
        ("raise SystemExit(2)", 2, ""),
        ("raise KeyError('why')", 1, "KeyError: 'why'"),
    ],
)
def test_without_its_threads_a_process_has_the_status_that_it_would_have_had(
    how: str, status: int, told: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGING.format(how=how)],
        capture_output=True,
        text=True,
        timeout=SECONDS_TO_WAIT,
        check=False,
    )

    assert ended.returncode == status
    assert WITHOUT_THREADS in ended.stderr
    assert told in ended.stderr
    assert ("Traceback" in ended.stderr) == bool(told)

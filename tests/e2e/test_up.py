"""`darkroom up`: one command and everything runs, one Ctrl-C and everything ends."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infrastructure.beside_up import addresses_left
from infrastructure.embedded import EmbeddedPostgres, EmbeddedRedis
from infrastructure.settings import without_settings
from tests.e2e.up import PATIENCE, Up, ended, start_up
from tests.integration.test_embedded import kill_postmaster, query, until, working_below

Start = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `up` on the test's data folder and ends it after the test."""
    started: list[Up] = []

    def start(*command: str, **changed: Any) -> Up:
        diary = str(tmp_path / "diary")
        log = f"up-{len(started)}.log"
        started.append(start_up(tmp_path, *command, log=log, DIARY=diary, **changed))
        return started[-1]

    with ended(tmp_path, started):
        yield start


def rehearsal(how: str) -> tuple[str, str]:
    return "tests.e2e.rehearsed_up", how


def diary(up: Up) -> list[str]:
    path = up.data.parent / "diary"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
def test_one_command_serves_and_ctrl_c_ends_it(start: Start) -> None:
    up = start()
    up.until_ready()
    key_file = up.data / "admin-key"
    key = key_file.read_text().strip()
    assert re.fullmatch(r"dk_admin_[\w-]{43}", key)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert up.said().count(key) == 1
    assert str(key_file) in up.said()
    secret_file = up.data / "secret-key"
    secret = secret_file.read_text().strip()
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert up.get("/api/v1/me/webhook-secret", key)["secret"].startswith("whsec_")
    assert secret not in up.said()
    assert f"http://127.0.0.1:{up.port}/docs" in up.said()
    assert up.get("/api/v1/me/quota", key)["windows"]
    logs_in_once(up, re.findall(r"log in at +(http\S+)", up.said()))
    logs_in_once(up, link_made_beside(up).splitlines())
    up.ctrl_c()
    assert up.status() == 0
    assert not working_below(up.data)
    assert "Traceback" not in up.said()


def logs_in_once(up: Up, links: list[str]) -> None:
    """A browser follows the only one of these links, and presses the button that it finds there."""
    (link,) = links
    address = f"http://127.0.0.1:{up.port}/auth"
    assert link.startswith(f"{address}/link?token=")
    token = {"token": link.partition("?token=")[2]}
    with httpx.Client(headers={"Accept": "text/html"}, follow_redirects=True) as browser:
        assert "<button>Log in</button>" in browser.get(link).text
        page = browser.post(f"{address}/link", data=token)
        assert "You are logged in as Administrator" in page.text
        assert browser.post(f"{address}/link", data=token).status_code == 403
        assert browser.get(f"{address}/login").status_code == 404
        assert "darkroom login-link" in browser.get(f"{address}/login").text


def link_made_beside(up: Up) -> str:
    environment = without_settings(os.environ) | {"DARKROOM_DATA_DIR": str(up.data)}
    command = [sys.executable, "-m", "interfaces.cli.main", "login-link"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_what_dies_comes_back_and_so_does_up_itself(start: Start) -> None:
    up = start()
    up.until_ready()
    key, secret = ((up.data / name).read_text().strip() for name in ("admin-key", "secret-key"))
    kill_postmaster(up.data / "postgres")
    for redis in working_below(up.data / "redis"):
        os.kill(int(redis.name), signal.SIGKILL)
    until(lambda: up.said().count("a server ended by itself") == 2)
    until(up.is_all_well, PATIENCE)

    up.process.kill()
    until(lambda: not working_below(up.data))
    up = start(port=up.port)
    up.until_ready()
    until(up.is_all_well, PATIENCE)
    assert (up.data / "admin-key").read_text().strip() == key
    assert (up.data / "secret-key").read_text().strip() == secret
    assert key not in up.said()


def test_children_finish_their_work_before_the_database_stops(start: Start) -> None:
    up = start(*rehearsal("well"))
    up.until_ready()
    until(lambda: len(diary(up)) == 4)
    up.ctrl_c()
    assert up.status() == 0
    assert [line for line in diary(up) if "started" not in line] == [
        "api told to stop",
        "worker told to stop",
        "worker recorded",
        "projector told to stop",
    ]
    with EmbeddedPostgres(up.data / "postgres") as postgres:
        assert query(postgres.url, "SELECT what FROM recorded") == ["the last picture"]


def test_its_servers_are_told_to_commands_beside_it_while_it_runs(start: Start) -> None:
    up = start(*rehearsal("well"))
    up.until_ready()
    told = up.data / "servers"
    assert stat.S_IMODE(told.stat().st_mode) == 0o600
    addresses = addresses_left(up.data)
    assert addresses["DARKROOM_URL"] == f"http://127.0.0.1:{up.port}"
    assert query(addresses["DATABASE_URL"], "SELECT 1") == [1]
    assert 'generate "a lighthouse"' in up.said()
    up.ctrl_c()
    assert up.status() == 0
    assert not told.exists()

    up = start(*rehearsal("well"))
    up.until_ready()
    up.process.kill()
    up.process.wait()
    until(lambda: not working_below(up.data))
    assert told.exists()
    assert addresses_left(up.data) == {}


def test_a_second_ctrl_c_waits_for_nobody(start: Start) -> None:
    up = start(*rehearsal("stubbornly"))
    up.until_ready()
    until(lambda: len(diary(up)) == 4)  # all have started
    up.ctrl_c()
    until(lambda: "worker told to stop" in diary(up))
    up.ctrl_c()
    assert up.status() == 0
    assert not working_below(up.data)


def test_ctrl_c_while_it_starts_ends_it_too(start: Start) -> None:
    up = start(*rehearsal("slowly"))
    until(lambda: diary(up), PATIENCE)
    up.ctrl_c()
    assert up.status() == 0
    assert len(diary(up)) == 1, "a child was started"
    assert not working_below(up.data)


def test_nothing_is_started_on_a_database_that_cannot_be_migrated(start: Start) -> None:
    up = start(*rehearsal("badly"))
    assert up.status() == 1
    assert "The tables do not fit." in up.said()
    assert "darkroom: The database could not be migrated" in up.said()
    assert len(diary(up)) == 1, "a child was started"
    assert not working_below(up.data)


def test_a_taken_port_or_data_folder_is_told_in_a_sentence(start: Start) -> None:
    up = start(*rehearsal("well"))
    up.until_ready()
    same_port, same_folder = start(port=up.port), start()
    assert (same_port.status(), same_folder.status()) == (1, 1)
    assert same_port.said().startswith(f"darkroom: The API cannot listen on 127.0.0.1:{up.port} (")
    assert same_folder.said().startswith("darkroom: Another Darkroom (process ")
    assert not up.has_ended()


@pytest.mark.parametrize(
    "kept",
    [b"short", b"dk_admin_of_two_lines\ndk_admin_of_two_lines\n", b"\xff\xfe" * 16],
    ids=["short", "two lines", "no text"],
)
def test_a_spoilt_file_of_the_admin_key_is_named(start: Start, tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin-key").write_bytes(kept)
    up = start()
    assert up.status() == 1
    assert up.said().startswith(
        f"darkroom: The administrator's key in {tmp_path / 'data' / 'admin-key'} must have at least"
    )
    assert up.said().count("\n") == 1


def test_servers_of_ones_own_are_used_and_left_alone(
    start: Start, database_url: str, redis_server: EmbeddedRedis
) -> None:
    up = start(*rehearsal("well"), DATABASE_URL=database_url, REDIS_URL=redis_server.url)
    up.until_ready()
    until(lambda: len(diary(up)) == 4)  # all have started
    assert not working_below(up.data)
    up.ctrl_c()
    assert up.status() == 0
    assert query(database_url, "SELECT what FROM recorded") == ["the last picture"]

"""The scripts of the quickstart do what they say, against a real `darkroom up`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.settings import without_settings
from tests.e2e.up import Up, ended, start_up

SCRIPTS = Path(__file__).parents[2] / "docs" / "quickstart"
LINES_OF_CODE = 21  # twenty, and a brace
COMMENT = re.compile(r'\s*(#|//|""")')


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("quickstart")
    up = start_up(folder)
    with ended(folder, [up]):
        up.until_ready()
        yield up


def run(up: Up, folder: Path, *command: str) -> str:
    environment = without_settings(os.environ) | {
        "DARKROOM_URL": f"http://127.0.0.1:{up.port}",
        "DARKROOM_API_KEY": (up.data / "admin-key").read_text().strip(),
    }
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_for_curl(up: Up, tmp_path: Path) -> None:
    said = run(up, tmp_path, "bash", str(SCRIPTS / "quickstart.sh"))

    assert (tmp_path / "lighthouse.png").read_bytes().startswith(b"\x89PNG")
    lines = said.splitlines()
    assert len([line for line in lines if re.search(r"http\S+/images/\S+\.png$", line)]) == 3
    assert "event: generation.completed" in lines
    ids = [line for line in lines if re.fullmatch(r"[0-9a-f-]{36}", line)]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    prompts = [line.removeprefix('"prompt":"').removesuffix('"') for line in lines[-3:]]
    assert prompts in newest("a lighthouse on a cliff at dusk")


@pytest.mark.parametrize(
    "command",
    [
        (sys.executable, str(SCRIPTS / "quickstart.py")),
        (shutil.which("node") or "node", str(SCRIPTS / "quickstart.mjs")),
    ],
    ids=["python", "javascript"],
)
def test_the_scripts_for_python_and_javascript(
    up: Up, tmp_path: Path, command: tuple[str, ...]
) -> None:
    said = run(up, tmp_path, *command)

    assert re.search(r"^picture http\S+\.png \d{4,} bytes$", said, re.MULTILINE)
    assert re.search(r"^spring http\S+\.png$", said, re.MULTILINE)
    assert "event: generation.requested" in said
    assert "event: generation.completed" in said
    ids = set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}(?=[\s]|$)", said))
    assert len(ids) == 1, "both answers are of one generation"
    history = re.findall(r"^history \S+ (.*)$", said, re.MULTILINE)
    assert history in newest("a lighthouse at dusk")


def newest(first: str) -> tuple[list[str], list[str]]:
    """What the history's first page may show: for a moment it may lack what has just ended."""
    made = ["a teapot", "a fox", "the same place in spring", first]
    return made[:3], made[1:]


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("quickstart.*")), ids=lambda path: path.name)
def test_a_script_is_short(script: Path) -> None:
    lines = [line for line in script.read_text().splitlines() if line.strip()]

    assert len([line for line in lines if not COMMENT.match(line)]) <= LINES_OF_CODE

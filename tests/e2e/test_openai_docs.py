"""The examples of docs/openai.md do what they say, against a real `darkroom up`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.settings import without_settings
from interfaces.openai.errors import ERRORS
from interfaces.rest.problem_types import OF_LOGINS
from tests.e2e.up import Up, ended, start_up
from tests.node import MODULES, NODE, environment

PAGE = (Path(__file__).parents[2] / "docs" / "openai.md").read_text()
NEVER_UNDER_V1 = {
    *("unreadable_request", "range_not_satisfiable", "contended"),
    *("generation_closed", "generation_open"),
    *("key_not_possible", "locks_out"),
    *("too_many_webhooks", "webhook_disabled", "webhooks_off"),
    *("too_many_webhook_changes", "too_many_resends"),
    *(ERRORS[kind].code for kind in OF_LOGINS),
}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("openai")
    up = start_up(folder)
    with ended(folder, [up]):
        up.until_ready()
        yield up


def example(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(code)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_an_example_makes_its_pictures(up: Up, tmp_path: Path, language: str) -> None:
    script = tmp_path / ("pictures.py" if language == "python" else "pictures.mjs")
    script.write_text(example(language))
    (tmp_path / "node_modules").symlink_to(MODULES)
    pointing_there = {
        "OPENAI_BASE_URL": f"http://127.0.0.1:{up.port}/v1",
        "OPENAI_API_KEY": (up.data / "admin-key").read_text().strip(),
    }

    done = subprocess.run(
        [sys.executable if language == "python" else str(NODE), str(script)],
        check=False,
        cwd=tmp_path,
        env={**without_settings(environment()), **pointing_there},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "lighthouse.png").read_bytes().startswith(b"\x89PNG")
    url, event = done.stdout.splitlines()
    assert re.fullmatch(r"http\S+/images/\S+\.png", url)
    assert re.fullmatch(r"image_generation.completed \d{4,}", event)


def test_the_page_names_every_code() -> None:
    assert [
        row.code
        for row in ERRORS.values()
        if f"`{row.code}`" not in PAGE and row.code not in NEVER_UNDER_V1
    ] == []

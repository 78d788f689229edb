"""`darkroom demo`, as a newcomer runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demo_holds_every_claim_and_leaves_nothing_running(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "interfaces.cli.main", "demo"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "All of it was true" in run.stdout
    assert "✗" not in run.stdout
    assert len(list((tmp_path / "darkroom-demo").glob("*.png"))) == 3
    assert not _processes_of(tmp_path)


def _processes_of(folder: Path) -> list[str]:
    """Processes that work in the folder: the stack's would, they inherit it."""
    return [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _works_in(entry, folder)
    ]


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False

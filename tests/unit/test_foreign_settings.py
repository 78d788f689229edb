"""What tests, benchmarks and the demo start takes nothing from the shell it is started in."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.settings import FOREIGN, Settings, variable, without_settings
from interfaces.cli.demo import environment as demos_environment
from tests.processes import Processes

KEY = "somebodys-key"

THEIRS = {
    "DARKROOM_PROVIDERS": "openai",
    "DATABASE_URL": "postgresql://db/theirs",
    "REDIS_URL": "redis://cache",
    "OPENAI_API_KEY": KEY,
    "OPENAI_CUSTOM_HEADERS": KEY,
    "GEMINI_API_KEY": KEY,
    "GOOGLE_API_KEY": KEY,
    "STABILITY_API_KEY": KEY,
    "SUPABASE_KEY": KEY,
    "PGPASSWORD": KEY,
}


def test_a_darkroom_of_its_own_has_nothing_of_anybody_elses() -> None:
    assert without_settings({**THEIRS, "PATH": "/bin"}) == {"PATH": "/bin"}


def test_a_darkroom_of_its_own_may_be_given_a_providers_key() -> None:
    kept = without_settings(THEIRS, but=("openai", "sketch", "filesystem"))

    assert kept.keys() == {"OPENAI_API_KEY", "OPENAI_CUSTOM_HEADERS"}


def test_every_key_that_is_a_setting_is_somebody_elses() -> None:
    names = map(variable, Settings.model_fields)
    assert [name for name in names if not name.startswith(FOREIGN)] == []


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_what_tests_start_has_nothing_of_the_shells(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, THEIRS[name])

    started = [
        Processes(tmp_path).environment,
        demos_environment(tmp_path, 8000, KEY, ("sketch",), "filesystem"),
    ]

    assert all(THEIRS[name] != environment.get(name) for environment in started)


def test_the_demo_takes_the_keys_of_the_providers_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in THEIRS.items():
        monkeypatch.setenv(name, text)

    given = demos_environment(tmp_path, 8000, KEY, ("openai",), "supabase")

    assert given["OPENAI_API_KEY"] == given["SUPABASE_KEY"] == KEY
    assert "GEMINI_API_KEY" not in given

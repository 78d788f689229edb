"""Where client commands find the service, and which key goes where."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.beside_up import left_for_others
from infrastructure.client_settings import (
    ClientSettings,
    ClientSettingsError,
    NoApiKeyError,
    load_client_settings,
)

KEY = "dk_hidden-word"
ADMIN_KEY = "dk_admin_hidden-word"


def folder_with_key(tmp_path: Path, key: str = ADMIN_KEY) -> dict[str, str]:
    (tmp_path / "admin-key").write_text(f"{key}\n")
    return {"DARKROOM_DATA_DIR": str(tmp_path)}


def test_unset_it_is_the_service_on_this_machine_and_the_key_that_up_keeps(tmp_path: Path) -> None:
    kept = folder_with_key(tmp_path)
    assert load_client_settings(kept) == ClientSettings("http://127.0.0.1:8000", ADMIN_KEY)
    elsewhere = kept | {"DARKROOM_HOST": "0.0.0.0", "DARKROOM_PORT": "8080"}
    assert load_client_settings(elsewhere).url == "http://127.0.0.1:8080"


def test_up_tells_where_it_listens_unless_that_is_set(tmp_path: Path) -> None:
    kept = folder_with_key(tmp_path)
    with left_for_others(tmp_path, {"DARKROOM_URL": "http://127.0.0.1:8123"}):
        assert load_client_settings(kept).url == "http://127.0.0.1:8123"
        assert load_client_settings(kept | {"DARKROOM_PORT": "1"}).url == "http://127.0.0.1:1"
    assert load_client_settings(kept).url == "http://127.0.0.1:8000"


def test_what_is_set_wins(tmp_path: Path) -> None:
    given = {"DARKROOM_URL": "https://pictures.example.com/", "DARKROOM_API_KEY": KEY}
    settings = load_client_settings(folder_with_key(tmp_path) | given)
    assert settings == ClientSettings("https://pictures.example.com", KEY)
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize("url", ["https://pictures.example.com", "http://10.0.0.7:8000"])
def test_the_administrators_key_is_sent_to_no_other_machine(tmp_path: Path, url: str) -> None:
    given = folder_with_key(tmp_path) | {"DARKROOM_URL": url, "DARKROOM_ADMIN_KEY": ADMIN_KEY}
    with pytest.raises(NoApiKeyError, match=f"DARKROOM_API_KEY is not set: .* for {url}"):
        load_client_settings(given)


@pytest.mark.parametrize("url", ["http://localhost:9000", "http://[::1]:9000", "http://box:1"])
def test_this_machine_has_several_names(tmp_path: Path, url: str) -> None:
    given = folder_with_key(tmp_path) | {"DARKROOM_URL": url, "DARKROOM_HOST": "box"}
    assert load_client_settings(given).api_key == ADMIN_KEY


def test_no_key_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoApiKeyError, match=f"has left none in {tmp_path}/admin-key"):
        load_client_settings({"DARKROOM_DATA_DIR": str(tmp_path)})
    (tmp_path / "admin-key").mkdir()
    with pytest.raises(NoApiKeyError, match=r"admin-key cannot be read \(Is a directory\)"):
        load_client_settings({"DARKROOM_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"DARKROOM_URL": "pictures.example.com"}, "DARKROOM_URL must be an address such as"),
        ({"DARKROOM_API_KEY": "two words"}, "DARKROOM_API_KEY must be one word"),
        ({"DARKROOM_PORT": "x"}, "DARKROOM_PORT must be a number from 1 to 65535, not 'x'"),
        ({"DARKROOM_HOST": "a b"}, "DARKROOM_HOST must be a host name"),
    ],
)
def test_a_mistake_is_a_sentence(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(ClientSettingsError, match=sentence) as caught:
        load_client_settings(given)
    assert "two words" not in str(caught.value)


def test_a_kept_key_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClientSettingsError, match=r"The key in .*admin-key must be one word"):
        load_client_settings(folder_with_key(tmp_path, "two\nlines"))

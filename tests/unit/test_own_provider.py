"""Darkroom is not its own provider, where the variables of its clients are set."""

from __future__ import annotations

import pytest

from infrastructure.settings import SettingsError, load_settings

CLIENTS = {"OPENAI_API_KEY": "dk_admin_key"}


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("http://127.0.0.1:8000/v1", {}),
        ("http://localhost:8000/v1", {}),
        ("http://[::1]:8000/v1", {}),
        ("http://0.0.0.0:8000", {}),
        ("http://127.0.0.1:9000/v1", {"DARKROOM_PORT": "9000", "DARKROOM_HOST": "0.0.0.0"}),
        ("http://127.0.0.1:8000/v1", {"DARKROOM_PUBLIC_URL": "https://pictures.example.com"}),
        ("http://10.0.0.7:8000/v1", {"DARKROOM_HOST": "10.0.0.7"}),
        (
            "https://Pictures.example.com/v1",
            {"DARKROOM_PUBLIC_URL": "https://pictures.example.com"},
        ),
        ("https://ai.example.com:443/p/v1", {"DARKROOM_PUBLIC_URL": "https://ai.example.com/p"}),
    ],
)
def test_openais_address_is_not_darkrooms_own(url: str, variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({**CLIENTS, "OPENAI_BASE_URL": url, **variables})

    assert caught.value.mistakes == (
        "DARKROOM_PROVIDERS has openai, and OPENAI_BASE_URL leads to this Darkroom itself: it and"
        " OPENAI_API_KEY are set here for Darkroom's clients. Start Darkroom where they are not"
        " set, or name other providers.",
    )


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("http://127.0.0.1:8001/v1", {}),
        ("http://127.0.0.1:8000/v1", {"DARKROOM_HOST": "10.0.0.7"}),
        ("https://ai.example.com/openai/v1", {"DARKROOM_PUBLIC_URL": "https://ai.example.com/p"}),
        ("https://ai.example.com/page", {"DARKROOM_PUBLIC_URL": "https://ai.example.com/p"}),
    ],
)
def test_a_neighbour_of_darkrooms_may_be_asked(url: str, variables: dict[str, str]) -> None:
    settings = load_settings({**CLIENTS, "OPENAI_BASE_URL": url, **variables})

    assert settings.providers == ("openai",)


def test_where_openai_is_not_asked_its_address_may_be_darkrooms_own() -> None:
    own = {"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1", "DARKROOM_PROVIDERS": "sketch"}

    assert load_settings({**CLIENTS, **own}).providers == ("sketch",)

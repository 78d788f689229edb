"""The OpenAPI document that the routes make, and what `make surface` writes into docs/."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from infrastructure.container import Container
from infrastructure.settings import load_settings
from interfaces.rest.app import create_app
from interfaces.rest.problem_pages import errors_markdown

STORED = Path(__file__).parents[2] / "docs" / "openapi.json"


def served() -> dict[str, Any]:
    """What an API answers at /openapi.json; nothing is connected to for that."""
    nowhere = {"DATABASE_URL": "postgresql://nowhere/darkroom", "REDIS_URL": "redis://nowhere"}
    container = Container(settings=load_settings(nowhere))
    document: dict[str, Any] = json.loads(json.dumps(create_app(container).openapi()))
    return document


def text_of(document: dict[str, Any]) -> str:
    """As it is stored: a line for each value, so that a diff shows what changed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    from tests.contracts import providers_page  # everybody else who imports this file needs none

    STORED.write_text(text_of(served()))
    (STORED.parent / "errors.md").write_text(errors_markdown())
    providers_page.STORED.write_text(providers_page.page(asyncio.run(providers_page.everything())))

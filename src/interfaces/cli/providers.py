"""`darkroom providers`: who makes the pictures, and how each is; switched and reordered."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from rich.table import Table
from rich.text import Text

from interfaces.cli.client import Client, connected
from interfaces.cli.terminal import local, output, printable

PROVIDERS = "/api/v1/providers"
HEADINGS = ("place", "provider", "enabled", "circuit", "calls", "models")

Json = dict[str, Any]


def providers(name: str | None, change: Json, *, as_json: bool) -> None:
    """Print all of them in their order, or the one that is named, after it was changed."""
    with connected(quiet=as_json) as client:
        items = [_changed(client, name, change)] if name else client.get(PROVIDERS)["items"]
    if as_json:
        for item in items:
            print(json.dumps(item))  # noqa: T201  # a machine reads it
        return
    rows = [tuple(_cells(item)) for item in items]
    if sys.stdout.isatty():
        _show_table(rows)
        return
    for row in rows:
        print("\t".join(row))  # noqa: T201  # a program reads it


def _changed(client: Client, name: str, change: Json) -> Json:
    path = f"/api/v1/admin/providers/{quote(name, safe='')}"
    return client.post(path, str(uuid4()), json=change)


def _cells(item: Json) -> Iterator[str]:
    yield str(item["place"])
    yield printable(item["name"])
    yield "on" if item["enabled"] else "off"
    yield printable(_circuit(item["health"]))
    yield str(item["health"]["callsUnderWay"])
    yield printable(", ".join(map(_model, item["models"])))


def _model(model: Json) -> str:
    health = model["health"]
    return model["name"] if health["state"] == "closed" else f"{model['name']} ({_circuit(health)})"


def _circuit(health: Json) -> str:
    """As in `open: out of funds, until 12:31:00`."""
    words = str(health["state"]).replace("_", "-")
    if health.get("why"):
        words += f": {health['why'].replace('_', ' ')}"
    return f"{words}, until {local(health['until'])}" if health.get("until") else words


def _show_table(rows: list[tuple[str, ...]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for name in HEADINGS:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(Text, row))
    output().print(table)

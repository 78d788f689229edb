"""The read models: one file each, found by its READ_MODEL."""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any

from infrastructure.read_models.read_model import ReadModel

Fetch = Callable[[str, tuple[Any, ...]], Awaitable[Sequence[tuple[Any, ...]]]]


def discover() -> tuple[ReadModel, ...]:
    """Every read model of this package, by name."""
    modules = (
        import_module(found.name) for found in pkgutil.iter_modules(__path__, f"{__name__}.")
    )
    models = (getattr(module, "READ_MODEL", None) for module in modules)
    return tuple(sorted((m for m in models if isinstance(m, ReadModel)), key=lambda m: m.name))

"""A client that a public generator makes of the document, and which operations were called."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.surface.stored import STORED

GENERATOR = Path(sys.prefix) / "tools" / "bin" / "openapi-python-client"
CONFIG = STORED.parents[1] / "tests" / "surface" / "client.yaml"
PACKAGE = "darkroom_client"


def generate(folder: Path) -> None:
    """Raises AssertionError when the generator warns of anything."""
    assert GENERATOR.exists(), "The generator is not there. Run `make test`, which installs it."
    options = ["--meta", "none", "--fail-on-warning", "--config", CONFIG]
    command = [GENERATOR, "generate", "--path", STORED, "--output-path", folder / PACKAGE]
    made = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr


@dataclass
class Api:
    """The generated client: operations by the names that the document gives them."""

    url: str
    key: str
    called: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.models = importlib.import_module(f"{PACKAGE}.models")
        self.types = importlib.import_module(f"{PACKAGE}.types")
        client = importlib.import_module(f"{PACKAGE}.client")
        self._client = client.AuthenticatedClient(self.url, self.key, timeout=30)
        self._modules = _operations(Path(client.__file__).parent / "api")

    async def __call__(self, operation: str, /, *arguments: Any, **options: Any) -> Any:
        """The whole answer, parsed."""
        call = self._modules[_snake(operation)].asyncio_detailed
        self.called.add(operation)
        return await call(*arguments, client=self._client, **options)

    async def close(self) -> None:
        await self._client.get_async_httpx_client().aclose()


def _operations(folder: Path) -> dict[str, ModuleType]:
    files = [file for file in folder.glob("*/*.py") if file.stem != "__init__"]
    return {
        file.stem: importlib.import_module(f"{PACKAGE}.api.{file.parent.name}.{file.stem}")
        for file in files
    }


def _snake(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()

"""Servers of providers and of the image store as processes, and how Darkroom is pointed at them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def key_of(name: str) -> str:
    """What a server takes for a valid key."""
    key: str = importlib.import_module(f"tests.servers.{name}").KEY
    return key


@contextmanager
def server_process(name: str, log: Path, *, port: int = 0) -> Iterator[str]:
    """One server, until the block ends; yields its address once it listens."""
    command = [sys.executable, "-m", "tests.servers", name, "--port", str(port)]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"the server {name} did not start: {log.read_text()}")
        yield address
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def environment_of(addresses: Mapping[str, str]) -> dict[str, str]:
    """The variables that let Darkroom speak with these servers."""
    variables: dict[str, str] = {}
    for name, address in addresses.items():
        if name == "supabase":
            variables |= {"SUPABASE_URL": address, "SUPABASE_KEY": key_of(name)}
        else:
            variables |= {
                f"{name.upper()}_API_KEY": key_of(name),
                f"{name.upper()}_BASE_URL": address + ("/v1" if name == "openai" else ""),
            }
    return variables

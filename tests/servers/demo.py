"""`make demo PROVIDERS=openai,gemini STORE=supabase`: the demo, through the real SDKs.

Nobody's live service is called: servers that speak the providers' protocols run beside it, and
what they counted is compared with what the demo says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests.servers.running import environment_of, server_process

STORES = ("filesystem", "supabase")
BUCKET = "darkroom"
DARKROOM = [sys.executable, "-m", "interfaces.cli.main", "demo"]


@dataclass(frozen=True)
class Counted:
    """What one server saw: its requests in words, the pictures, and how many of them differ."""

    requests: str
    pictures: int
    different: int


def main() -> int:
    """The demo's own status; 1 if the servers counted something else than it recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--providers", default="sketch")
    parser.add_argument("--store", choices=STORES, default="filesystem")
    given = parser.parse_args()
    names = [name.strip() for name in given.providers.split(",")]
    outside = [*names, given.store]
    with TemporaryDirectory() as folder, _servers(outside, Path(folder)) as addresses:
        demo = subprocess.run(
            [*DARKROOM, "--providers", ",".join(names), "--store", given.store],
            env=os.environ | environment_of(addresses),
            check=False,
        )
        return demo.returncode or _compare(names, addresses)


@contextmanager
def _servers(names: list[str], folder: Path) -> Iterator[dict[str, str]]:
    """Addresses by name; the built-in provider and the disk need no server."""
    with ExitStack() as until_then:
        yield {
            name: until_then.enter_context(server_process(name, folder / f"{name}.log"))
            for name in dict.fromkeys(names)
            if name not in ("sketch", "filesystem")
        }


def _compare(providers: list[str], addresses: dict[str, str]) -> int:
    """A picture from each provider, and two more from the first; at Supabase each once."""
    if addresses:
        print("\nWhat the test servers counted")
    wrong = 0
    for name, address in addresses.items():
        told = httpx.get(f"{address}/_control").json()
        if name in providers:
            wrong += not _is_as_expected(name, _made(told), 3 if name == providers[0] else 1)
        else:
            wrong += not _is_as_expected(name, _put(told), len(providers) + 2)
    return 1 if wrong else 0


def _is_as_expected(name: str, counted: Counted, expected: int) -> bool:
    is_right = counted.pictures == counted.different == expected
    mark = "✓" if is_right else f"✗ not {expected}, each once:"
    print(f"  {mark} {name}: {counted.requests}, {counted.pictures} pictures")
    return is_right


def _made(told: dict[str, Any]) -> Counted:
    """What a provider billed."""
    pictures = sum(seen["facts"].get("images", 1) for seen in told["seen"] if seen["billed"])
    return Counted(f"{told['billed']} calls billed", pictures, pictures)


def _put(told: dict[str, Any]) -> Counted:
    """What was put into the public bucket, and under how many names."""
    put = [
        seen["path"]
        for seen in told["seen"]
        if seen["facts"].get("stored") and f"/object/{BUCKET}/" in seen["path"]
    ]
    return Counted(f"{len(told['seen'])} requests", len(put), len(set(put)))


if __name__ == "__main__":
    sys.exit(main())

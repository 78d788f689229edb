"""`python -m tests.servers openai --port 9001`: one server as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import importlib

from tests.servers.protocol import serving

NAMES = ("openai", "gemini", "stability", "supabase")


async def _serve(name: str, port: int) -> None:
    server = importlib.import_module(f"tests.servers.{name}").server()
    async with serving(server, port) as address:
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    asyncio.run(_serve(asked.name, asked.port))

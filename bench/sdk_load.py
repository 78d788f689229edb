"""The official openai SDK as the load client: one picture after the other, so many at once."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from dataclasses import asdict

import openai
import uvloop

from bench.load import Load, Tally

MODEL = "gpt-image-2"
PROMPT = "A lighthouse on a cliff at dusk, one lamp lit, woodcut"
PIXELS = 1024  # of each side
OK = "200"


async def run(address: str, key: str, *, at_once: int, seconds: float) -> Load:
    """Ask for so long; what is under way then is waited for. Any refusal ends it."""
    client = openai.AsyncOpenAI(base_url=address, api_key=key, max_retries=0, timeout=120)

    async def ask() -> float:
        began = time.perf_counter()
        answer = await client.images.generate(prompt=PROMPT, model=MODEL, size=f"{PIXELS}x{PIXELS}")
        if not (answer.data and answer.data[0].b64_json):
            raise RuntimeError("The answer held no picture.")
        return (time.perf_counter() - began) * 1000

    await asyncio.gather(*(ask() for _ in range(at_once)))  # connections are opened, pools filled
    tally = Tally()

    async def ask_until_the_end() -> None:
        while time.perf_counter() - tally.began < seconds:
            tally.milliseconds.append(await ask())
            tally.answers[OK] += 1

    await asyncio.gather(*(ask_until_the_end() for _ in range(at_once)))
    load = tally.load()
    await client.close()
    return load


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--at-once", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    load = uvloop.run(run(given.address, given.key, at_once=given.at_once, seconds=given.seconds))
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    _main()

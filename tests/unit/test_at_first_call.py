"""Providers that are made when they are first asked for a picture."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from uuid import uuid4

from application.ports.providers import CallRequest, Provider
from infrastructure.providers.at_first_call import AtFirstCall
from tests.fakes_images import FAKE_CAPABILITIES, FakeProvider

SETTINGS = {
    "OPENAI_API_KEY": "sk-test",
    "GEMINI_API_KEY": "a-test-key",
    "STABILITY_API_KEY": "sk-test",
}
LOOK = f"""
import sys
from infrastructure.container import Container
from infrastructure.settings import load_settings
configured = Container(settings=load_settings({SETTINGS!r})).configured_providers()
assert all(provider.capabilities.models for provider in configured.values())
print(*configured, *({{"openai", "google.genai"}} & set(sys.modules)))
"""


def a_call() -> CallRequest:
    model = FAKE_CAPABILITIES.models[0].name
    return CallRequest(generation=uuid4(), call=1, images=(1,), prompt="a fox", model=model)


async def test_it_is_made_once_however_many_calls_come_first() -> None:
    made: list[FakeProvider] = []

    def make() -> Provider:
        made.append(FakeProvider())
        return made[-1]

    lazy = AtFirstCall("fake", FAKE_CAPABILITIES, make)
    await lazy.close()
    assert not made
    calls = [asyncio.create_task(lazy.call(a_call())) for _ in range(3)]
    await asyncio.sleep(0)
    calls[0].cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert [len(made), len(made[0].asked)] == [1, 2]
    await lazy.close()


async def test_who_makes_it_ready_pays_for_that_before_the_first_call() -> None:
    made: list[FakeProvider] = []
    lazy = AtFirstCall("fake", FAKE_CAPABILITIES, lambda: made.append(FakeProvider()) or made[-1])
    await lazy.ready()
    assert len(made) == 1
    await lazy.call(a_call())
    assert len(made) == 1


def test_who_only_looks_at_what_providers_can_do_imports_no_sdk() -> None:
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=60
    )
    assert looked.stdout.split() == ["openai", "gemini", "stability"]

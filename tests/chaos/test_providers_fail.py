"""One provider after the other fails while real workers ask them, and comes back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.e2e.stack import free_port
from tests.processes import ADMIN_KEY, Processes, eventually
from tests.servers import gemini, openai, stability
from tests.servers.protocol import ProtocolServer, serving
from tests.servers.running import environment_of

pytestmark = pytest.mark.slow

FAILURES, OPEN = 3, 3.0  # of a circuit: in a row, and seconds


class Providers:
    """Three servers, an api that listens and two workers that ask them."""

    def __init__(self, servers: dict[str, ProtocolServer], api: httpx.AsyncClient) -> None:
        self.servers, self.api = servers, api

    def tell(self, name: str, fault: str | None) -> None:
        self.servers[name].switches.tell(always=fault)

    def asked(self, name: str) -> int:
        return len(self.servers[name].switches.seen)

    def billed(self) -> int:
        return sum(server.switches.billed for server in self.servers.values())

    async def generate(self, **fields: Any) -> dict[str, Any]:
        answer = await self.api.post("/api/v1/generations", json={"prompt": "a fox", **fields})
        assert answer.status_code == 201, answer.text
        generation: dict[str, Any] = answer.json()
        return generation

    async def health(self) -> dict[str, tuple[str, str | None]]:
        """State and reason, by name, in the order in which they are asked."""
        items = (await self.api.get("/api/v1/providers")).json()["items"]
        return {one["name"]: (one["health"]["state"], one["health"]["why"]) for one in items}


@pytest.fixture
async def providers(one_service: Processes) -> AsyncIterator[Providers]:
    servers = {
        "openai": openai.server(),
        "gemini": gemini.server(),
        "stability": stability.server(),
    }
    port = free_port()
    async with AsyncExitStack() as until_then:
        addresses = {
            name: await until_then.enter_async_context(serving(server))
            for name, server in servers.items()
        }
        settings = environment_of(addresses) | {
            "DARKROOM_PROVIDERS": ",".join(servers),
            "DARKROOM_CIRCUIT": f"failures={FAILURES},open={OPEN:g},cool_down={OPEN:g}",
            "DARKROOM_PORT": str(port),
        }
        for process in ("api", "worker", "worker"):
            one_service.start(process, **settings)
        api = await until_then.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {ADMIN_KEY}"},
                timeout=60,
            )
        )
        await eventually(lambda: _is_ready(api), why="the api is not ready")
        yield Providers(servers, api)


async def _is_ready(api: httpx.AsyncClient) -> bool:
    try:
        return (await api.get("/livez")).is_success
    except httpx.TransportError:
        return False


@pytest.mark.timeout(240)
async def test_requests_flow_to_who_can_serve_them_and_back_after_healing(
    providers: Providers,
) -> None:
    assert (await providers.generate())["provider"] == "openai"

    providers.tell("openai", "server_error")
    providers.tell("gemini", "no_credit")
    asked_before, since = providers.asked("openai"), time.monotonic()
    made = [await providers.generate() for _ in range(12)]
    probes = (time.monotonic() - since) / OPEN + 1
    assert {generation["provider"] for generation in made} == {"stability"}
    assert providers.asked("openai") - asked_before <= FAILURES + probes
    assert made[0]["calls"][-1]["passedOver"] == {
        "openai": "failed for this request",
        "gemini": "failed for this request",
    }
    assert made[-1]["calls"][0]["passedOver"] == {
        "openai": "circuit_open",
        "gemini": "out_of_funds",
    }

    assert await providers.health() == {
        "openai": ("open", "circuit_open"),
        "gemini": ("open", "out_of_funds"),
        "stability": ("closed", None),
    }

    async def back_at(name: str, **fields: Any) -> bool:
        return bool((await providers.generate(**fields))["provider"] == name)

    providers.tell("gemini", None)
    await eventually(lambda: back_at("gemini"), why="gemini has credit again and is not asked")
    providers.tell("openai", None)
    await eventually(lambda: back_at("openai"), why="openai is back and is not asked")
    states = {name: state for name, (state, _) in (await providers.health()).items()}
    assert states == dict.fromkeys(states, "closed")


async def test_what_hangs_is_given_up_and_another_paints(
    providers: Providers, one_service: Processes
) -> None:
    providers.tell("openai", "drop")
    generation = await providers.generate()
    assert [(call["provider"], call["outcome"]) for call in generation["calls"]] == [
        ("openai", "lost"),
        ("gemini", "answered"),
    ]


async def test_a_provider_that_is_switched_off_is_asked_by_nobody_from_then_on(
    providers: Providers,
) -> None:
    async def switch(**wanted: Any) -> None:
        answer = await providers.api.post("/api/v1/admin/providers/openai", json=wanted)
        assert answer.status_code == 200, answer.text

    async def made_by(name: str) -> bool:
        return bool((await providers.generate())["provider"] == name)

    await switch(enabled=False)
    await eventually(lambda: made_by("gemini"))
    asked = providers.asked("openai")
    assert [await made_by("gemini") for _ in range(6)] == [True] * 6
    assert providers.asked("openai") == asked
    await switch(enabled=True, place=3)
    assert list(await providers.health()) == ["gemini", "stability", "openai"]
    assert await made_by("gemini")

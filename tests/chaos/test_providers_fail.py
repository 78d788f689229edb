"""One provider after the other fails while real workers ask them, and comes back."""

from __future__ import annotations

import asyncio
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
AT_ONCE, REQUESTS = 6, 30  # requests under way together, and in all while somebody fails


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

    async def generate_at_once(self, many: int) -> list[dict[str, Any]]:
        """So many, `AT_ONCE` under way at any time, in the order in which they ended."""
        made: list[dict[str, Any]] = []
        left = iter(range(many))

        async def one_after_the_other() -> None:
            for _ in left:
                generation = await self.generate()
                made.append(generation)

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
        return made

    async def health(self) -> dict[str, str | None]:
        """Why one is not asked, or by one call at a time, by name, in the order they are asked."""
        items = (await self.api.get("/api/v1/providers")).json()["items"]
        return {one["name"]: one["health"]["why"] for one in items}


class Failing:
    """Providers that fail from some moment on, and how often they were asked since."""

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._since: dict[str, tuple[int, float]] = {}

    def begins(self, name: str, fault: str) -> None:
        self._since[name] = self._providers.asked(name), time.monotonic()
        self._providers.tell(name, fault)

    def asked(self, name: str) -> int:
        return self._providers.asked(name) - self._since[name][0]

    def probes(self, name: str) -> float:
        """How many calls may have found out since whether it is well: one in `OPEN` seconds."""
        return (time.monotonic() - self._since[name][1]) / OPEN


def passed_over(made: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Who was not asked by the last call of each, and why."""
    return [generation["calls"][-1]["passedOver"] for generation in made]


@pytest.fixture
async def providers(
    one_service: Processes, request: pytest.FixtureRequest
) -> AsyncIterator[Providers]:
    """With the test's own settings, where it has some."""
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
            **getattr(request, "param", {}),
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
    failing = Failing(providers)

    failing.begins("openai", "server_error")
    made = await providers.generate_at_once(REQUESTS)
    assert {generation["provider"] for generation in made} == {"gemini"}
    assert await providers.health() == {
        "openai": "circuit_open",
        "gemini": None,
        "stability": None,
    }
    assert {"openai": "failed for this request"} in passed_over(made)
    assert {"openai": "circuit_open"} in passed_over(made)

    failing.begins("gemini", "no_credit")
    made = await providers.generate_at_once(REQUESTS)
    assert {generation["provider"] for generation in made} == {"stability"}
    assert await providers.health() == {
        "openai": "circuit_open",
        "gemini": "out_of_funds",
        "stability": None,
    }
    assert {"openai": "circuit_open", "gemini": "out_of_funds"} in passed_over(made)
    assert failing.asked("openai") <= FAILURES + AT_ONCE - 1 + failing.probes("openai")
    assert failing.asked("gemini") <= AT_ONCE + failing.probes("gemini")

    async def back_at(name: str) -> bool:
        return bool((await providers.generate())["provider"] == name)

    providers.tell("gemini", None)
    await eventually(lambda: back_at("gemini"), why="gemini has credit again and is not asked")
    providers.tell("openai", None)
    await eventually(lambda: back_at("openai"), why="openai is back and is not asked")
    assert set((await providers.health()).values()) == {None}


@pytest.mark.parametrize(
    "providers", [{"DARKROOM_CALL_SECONDS": "4", "DARKROOM_DEADLINE_SECONDS": "60"}], indirect=True
)
async def test_what_hangs_is_given_up_and_another_paints(providers: Providers) -> None:
    providers.tell("openai", "hang")
    calls = (await providers.generate())["calls"]
    assert (calls[0]["provider"], calls[0]["outcome"]) == ("openai", "lost")
    assert calls[-1]["provider"] != "openai"
    assert calls[-1]["outcome"] == "answered"
    assert providers.asked("openai") <= 1, "none, where its SDK was still being imported"


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

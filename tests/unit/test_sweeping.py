"""Sweeps side by side."""

from __future__ import annotations

import asyncio

import pytest

from application.ports.event_store import StoreUnavailableError
from application.ports.images import ImageStoreUnavailableError
from application.sweeping import Sweep, sweep_for_ever
from tests.studio import until


async def test_neither_a_failing_nor_a_hanging_sweep_stops_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rounds = {"failing": 0, "away": 0, "well": 0}
    errors = {"failing": ValueError("a bug"), "away": ImageStoreUnavailableError("a full disk")}

    def sweep(name: str) -> Sweep:
        async def round_() -> bool:
            rounds[name] += 1
            if name in errors:
                raise errors[name]
            return True

        return Sweep(name, round_, rest=0.001)

    async def hang() -> bool:
        await asyncio.Event().wait()
        raise StoreUnavailableError

    sweeps = [Sweep("hanging", hang, rest=0), *map(sweep, rounds)]
    sweeping = asyncio.create_task(sweep_for_ever(sweeps))
    await until(lambda: min(rounds.values()) > 2)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert sweeping.cancelled()
    assert "the sweep of failing failed" in caplog.text
    assert "the sweep of away is put off: a full disk" in caplog.text


async def test_a_sweep_rests_only_when_nothing_is_left() -> None:
    left = [True, True, False]

    async def round_() -> bool:
        return not left.pop(0)

    sweeping = asyncio.create_task(sweep_for_ever([Sweep("it", round_, rest=3600, between=0)]))
    await until(lambda: not left)
    await asyncio.sleep(0.01)
    assert not sweeping.done(), "a fourth round would have failed"
    sweeping.cancel()

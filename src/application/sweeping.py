"""Sweeping up behind everybody else: in bounded rounds, no sweep waiting for another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from application.ports.event_store import StoreUnavailableError
from application.ports.images import ImageStoreUnavailableError
from application.tasks import end

log = logging.getLogger(__name__)

BETWEEN_ROUNDS = 1.0


@dataclass(frozen=True)
class Sweep:
    """Something that has to be looked for again and again.

    `round` deals with a bounded piece of it, logs what it did, and says whether nothing is left for
    now (a round that is always all says nothing): then it rests for `rest` seconds. Two processes
    may be in a round at once: the former leader may not know yet that it is one no more.
    """

    name: str
    round: Callable[[], Awaitable[bool | None]]
    rest: float
    between: float = BETWEEN_ROUNDS


async def sweep_for_ever(sweeps: Iterable[Sweep]) -> None:
    """All of them side by side until cancelled; one that fails begins again after its rest."""
    repeating = [asyncio.create_task(_repeat(sweep)) for sweep in sweeps]
    try:
        await asyncio.gather(*repeating)
    finally:
        await end(*repeating)


async def _repeat(sweep: Sweep) -> None:
    while True:
        pause = await _pause_after_a_round(sweep)
        await asyncio.sleep(pause)


async def _pause_after_a_round(sweep: Sweep) -> float:
    try:
        return sweep.between if await sweep.round() is False else sweep.rest
    except (StoreUnavailableError, ImageStoreUnavailableError) as error:
        log.warning("the sweep of %s is put off: %s", sweep.name, error)
    except Exception:  # a bug in one sweep, or one row: the others are not to wait for it
        log.exception("the sweep of %s failed", sweep.name)
    return sweep.rest

"""Several things done side by side, but few."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def a_few_at_once(work: Iterable[Callable[[], Awaitable[T]]], *, most: int = 4) -> list[T]:
    """What each comes to, in their order; the first that fails ends the others, and is raised."""
    free = asyncio.Semaphore(most)

    async def done(one: Callable[[], Awaitable[T]]) -> T:
        async with free:
            return await one()

    try:
        async with asyncio.TaskGroup() as group:
            doing = [group.create_task(done(one)) for one in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in doing]

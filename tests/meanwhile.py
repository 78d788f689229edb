"""What goes on beside a test until the test has seen enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from application.tasks import end


@asynccontextmanager
async def meanwhile(*coroutines: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Let these go on until the block ends; one that breaks ends the block, with its error.

    Around a fixture's `yield`, it is told when the fixture ends.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in coroutines]
            try:
                yield
            finally:
                await end(*tasks)
    except BaseExceptionGroup as several:
        if len(several.exceptions) == 1:
            raise several.exceptions[0] from None
        raise

"""The projector process: a follower for every read model, each with a lock of its own."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence

from application.tasks import end
from infrastructure.container import Container
from infrastructure.event_store.follower import Follower
from infrastructure.read_models import discover
from infrastructure.read_models.read_model import ReadModel
from infrastructure.settings import Settings

log = logging.getLogger(__name__)

PAUSE_AFTER_A_BUG = (3.0, 6.0)


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """The whole projector process, until `stopping` is set."""
    following = asyncio.create_task(run(Container(settings=settings).database_url()))
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait([told, following], return_when=asyncio.FIRST_COMPLETED)
    for ended in await end(told, following):
        if isinstance(ended, Exception):
            raise ended


async def run(database_url: str, *, read_models: Sequence[ReadModel] | None = None) -> None:
    """Keep every read model up to date until cancelled."""
    models = discover() if read_models is None else read_models
    log.info("following the log", extra={"read_models": [model.name for model in models]})
    following = [asyncio.create_task(_follow(Follower(database_url, model))) for model in models]
    try:
        await asyncio.gather(*following)
    finally:
        await end(*following)


async def _follow(follower: Follower) -> None:
    """One that fails never stops another: a bug in one read model is said, and tried again."""
    while True:
        try:
            await follower.run()
        except Exception as error:  # noqa: BLE001  # a bug; its message may hold a user's words
            facts = {"read_model": follower.name, "error": type(error).__name__}
            log.error("the follower failed", extra=facts)
            await asyncio.sleep(random.uniform(*PAUSE_AFTER_A_BUG))  # noqa: S311  # spreads standbys

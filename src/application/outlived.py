"""Idempotency keys and spooled pictures that have outlived their use."""

from __future__ import annotations

import logging
from dataclasses import asdict

from application.ports.workers import WorkBoard
from application.sweeping import Sweep

log = logging.getLogger(__name__)


class OutlivedSweep:
    """Lets go of them, some at a time."""

    def __init__(self, board: WorkBoard) -> None:
        self._board = board

    def sweep(self) -> Sweep:
        """Its round, and how often."""
        return Sweep("what has outlived its use", self.round, rest=60.0)

    async def round(self) -> bool:
        """Whether that was all."""
        gone = await self._board.forget_outlived()
        if gone.keys or gone.pictures:
            log.info("let go of what had outlived its use", extra=asdict(gone))
        return gone.is_all

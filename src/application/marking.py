"""Whether this log alone says what may lie in the image store."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from application.pictures import in_time
from application.ports.images import ImageStore, Log, Mark
from application.sweeping import Sweep

log = logging.getLogger(__name__)

REST = 30.0  # seconds; what is restored to less than that ago is not noticed


class Marking:
    """Leaves the log's mark in the image store, and looks whose else are there.

    A mark that this log does not have is another log's, or its own from before a backup was
    restored or a copy of it went its own way: files may be there that it does not know. Each such
    log leaves its mark beside the others, so that each of them sees it, and none removes anything.
    """

    def __init__(self, log_: Log, images: ImageStore) -> None:
        self._log = log_
        self._images = images
        self._told: Sequence[Mark] = ()

    def sweep(self) -> Sweep:
        """Its round, and how often."""
        return Sweep("the log's mark in the image store", self.round, rest=REST)

    async def round(self) -> None:
        """Replace the mark by one that says how far the log has come."""
        marks, end = await in_time(self._images.marks()), await self._log.end()
        not_mine = await self._log.not_mine(marks)
        if end not in marks:
            mine = [mark for mark in marks if mark not in not_mine]
            await in_time(self._images.mark(end, instead_of=mine))

    async def is_alone(self) -> bool:
        """Whether there is this log's mark and no other; once, it says which others."""
        marks = await in_time(self._images.marks())
        not_mine = await self._log.not_mine(marks)
        if not_mine and not_mine != self._told:
            facts = {"logs": sorted({str(mark.log) for mark in not_mine})}
            log.warning(
                "the image store has marks that this log does not know: no file is removed",
                extra=facts,
            )
        self._told = not_mine
        return bool(marks) and not not_mine

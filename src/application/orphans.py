"""Files that nothing names: what a worker or a request stored before it was killed or refused."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from uuid import UUID

from application.ports import (
    EventStore,
    ImageStore,
    ObjectNames,
    SeenObject,
    SeenObjects,
    StoreUnavailableError,
)
from application.sweeping import Sweep
from domain.generation import Generation

log = logging.getLogger(__name__)

AT_ONCE = 50
A_DAY = timedelta(days=1)  # longer than anything takes from storing a file to recording it
REST = 600.0  # seconds from one walk through the image store to the next


class OrphanSweep:
    """Walks through the image store, a few objects a second, and removes what nothing names.

    Of an ended generation only the published pictures are anybody's: the rest goes at once, and all
    of it once the generation is deleted, whatever became of that work. To an open one anything may
    still belong. What would belong to a generation unknown to the log, or is a reference image that
    no event names, goes when it is a day old; unless it is older than the log, as nothing of its
    own can be: then somebody connected another database, and everything stays.
    """

    def __init__(self, store: EventStore, images: ImageStore, names: ObjectNames) -> None:
        self._store = store
        self._images = images
        self._names = names
        self._walk: AsyncGenerator[SeenObjects] | None = None

    def sweep(self) -> Sweep:
        """Its round, and how often."""
        return Sweep("orphaned files", self.round, rest=REST)

    async def round(self) -> bool:
        """Look at the next few objects; whether that was the end of the walk."""
        self._walk = self._walk or self._images.walk(at_once=AT_ONCE)
        seen = await anext(self._walk, None)
        if seen is None:
            self._walk = None
            return True
        removed = 0
        for folder, objects in _by_folder(seen.objects).items():
            removed += await self._remove_orphans(folder, objects)
        if removed or seen.leftovers:
            facts = {"objects": removed, "leftovers": seen.leftovers}
            log.warning("removed files that nothing names", extra=facts)
        return False

    async def _remove_orphans(self, folder: str, objects: Sequence[SeenObject]) -> int:
        kind, _, owner = folder.partition("/")
        if kind == "references":
            return await self._remove_references(objects)
        try:
            generation = await self._store.get(Generation, UUID(owner))
        except StoreUnavailableError:
            raise
        except Exception:  # a foreign name, an event that cannot be read: others are not to wait
            log.exception("cannot tell whose files these are", extra={"generation": owner})
            return 0
        if generation is None:
            return await self._forget([seen.key for seen in await self._old_ones(objects)])
        if not generation.closed:
            return 0
        published = {image.key for image in generation.published}
        keys = [seen.key for seen in objects if seen.key not in published]
        await self._images.delete(keys)
        return len(keys)

    async def _remove_references(self, objects: Sequence[SeenObject]) -> int:
        keys = [seen.key for seen in await self._old_ones(objects)]
        named = await self._names.named_references(keys) if keys else set()
        if named is None:
            log.warning("whose reference images these are is not known yet: they stay")
            return 0
        return await self._forget([key for key in keys if key not in named])

    async def _old_ones(self, objects: Sequence[SeenObject]) -> list[SeenObject]:
        old = [seen for seen in objects if seen.age > A_DAY]
        if not old:
            return []
        log_age = await self._names.log_age()
        foreign = [seen for seen in old if seen.age > log_age]
        if foreign:
            facts = {"objects": len(foreign)}
            log.warning("files in the image store are older than this log: they stay", extra=facts)
        return [seen for seen in old if seen.age <= log_age]

    async def _forget(self, keys: Sequence[str]) -> int:
        return sum([await self._images.forget(key, older_than=A_DAY) for key in keys])


def _by_folder(objects: Sequence[SeenObject]) -> dict[str, list[SeenObject]]:
    folders: dict[str, list[SeenObject]] = {}
    for seen in objects:
        folders.setdefault(seen.key.rpartition("/")[0], []).append(seen)
    return folders

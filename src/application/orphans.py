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
        self._seen = self._foreign = 0

    def sweep(self) -> Sweep:
        """Its round, and how often."""
        return Sweep("orphaned files", self.round, rest=REST)

    async def round(self) -> bool:
        """Look at the next few objects; whether that was the end of the walk."""
        if self._walk is None:
            self._walk, self._seen, self._foreign = self._images.walk(at_once=AT_ONCE), 0, 0
        seen = await anext(self._walk, None)
        if seen is None:
            self._walk = None
            self._tell()
            return True
        self._seen += len(seen.objects)
        removed = 0
        for folder, objects in _by_folder(seen.objects).items():
            removed += await self._remove_orphans(folder, objects)
        if removed or seen.leftovers:
            facts = {"objects": removed, "leftovers": seen.leftovers}
            log.warning("removed files that nothing names", extra=facts)
        return False

    def _tell(self) -> None:
        log.info("looked through the image store", extra={"objects": self._seen})
        if self._foreign:
            facts = {"objects": self._foreign}
            log.warning("files in the image store are not of this log: they stay", extra=facts)

    async def _remove_orphans(self, folder: str, objects: Sequence[SeenObject]) -> int:
        kind, _, owner = folder.partition("/")
        if kind == "references":
            return await self._remove_references(objects)
        if (ref := _uuid(owner)) is None:
            self._foreign += len(objects)
            return 0
        try:
            generation = await self._store.get(Generation, ref)
        except StoreUnavailableError:
            raise
        except Exception:  # an event that cannot be read: the others are not to wait for it
            log.exception("cannot tell whose files these are", extra={"generation": owner})
            return 0
        if generation is None:
            return await self._forget(await self._old_ones(objects))
        if not generation.closed:
            return 0
        published = {image.key for image in generation.published}
        keys = [seen.key for seen in objects if seen.key not in published]
        await self._images.delete(keys)
        return len(keys)

    async def _remove_references(self, objects: Sequence[SeenObject]) -> int:
        keys = await self._old_ones(objects)
        named = await self._names.named_references(keys) if keys else set()
        if named is None:
            log.warning("whose reference images these are is not known yet: they stay")
            return 0
        return await self._forget([key for key in keys if key not in named])

    async def _old_ones(self, objects: Sequence[SeenObject]) -> list[str]:
        """The keys of what is a day old, but not older than the log."""
        old = [seen for seen in objects if seen.age > A_DAY]
        if not old:
            return []
        log_age = await self._names.log_age()
        ours = [seen.key for seen in old if seen.age <= log_age]
        self._foreign += len(old) - len(ours)
        return ours

    async def _forget(self, keys: Sequence[str]) -> int:
        return sum([await self._images.forget(key, older_than=A_DAY) for key in keys])


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def _by_folder(objects: Sequence[SeenObject]) -> dict[str, list[SeenObject]]:
    folders: dict[str, list[SeenObject]] = {}
    for seen in objects:
        folders.setdefault(seen.key.rpartition("/")[0], []).append(seen)
    return folders

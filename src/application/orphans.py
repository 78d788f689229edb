"""Files that nothing names: what a worker or a request stored before it was killed or refused."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from application.marking import Marking
from application.ports.event_store import EventStore, StoreUnavailableError
from application.ports.images import ImageStore, Log, NamedReferences, SeenObject, SeenObjects
from application.sweeping import Sweep
from domain.generation import Generation

log = logging.getLogger(__name__)

AT_ONCE = 50
A_DAY = timedelta(days=1)  # longer than anything takes from storing a file to recording it
FIRST_HOUR = timedelta(hours=1)  # of the log; a disk that several machines share has its own clock
CLOCKS_AGREE = timedelta(minutes=1)
REST = 600.0  # seconds from one walk through the image store to the next


def machine_clock() -> datetime:
    """What the ages of files go by."""
    return datetime.now(UTC)


class OrphanSweep:
    """Walks through the image store, a few objects a second, and removes what nothing names.

    Of an ended generation only the published pictures are anybody's: the rest goes at once, and all
    of it once the generation is deleted, whatever became of that work. To an open one anything may
    still belong. What would belong to a generation unknown to the log, or is a reference image that
    no event names, goes when it is a day old, unless it is older than the log: then it is not its.

    That holds only where this log alone says what there is, and the clocks agree on what a day is:
    otherwise nothing is removed.
    """

    def __init__(
        self,
        store: EventStore,
        images: ImageStore,
        named: NamedReferences,
        log_: Log,
        *,
        clock: Callable[[], datetime] = machine_clock,
    ) -> None:
        self._store = store
        self._images = images
        self._named = named
        self._log = log_
        self._marking = Marking(log_, images)
        self._clock = clock
        self._walk: AsyncGenerator[SeenObjects] | None = None
        self._start()

    def sweeps(self) -> tuple[Sweep, ...]:
        """Its rounds, and how often."""
        return (self._marking.sweep(), Sweep("orphaned files", self.round, rest=REST))

    async def round(self) -> bool:
        """Look at the next few objects; whether that was the end of the walk."""
        if self._walk is None:
            await self._marking.round()
        if not await self._marking.is_alone() or not await self._clocks_agree():
            self._walk = None
            return True
        if self._walk is None:
            self._walk = self._images.walk(at_once=AT_ONCE)
            self._start()
        seen = await anext(self._walk, None)
        if seen is None:
            self._walk = None
            self._tell()
            return True
        self._seen += len(seen.objects)
        self._unreadable += seen.unreadable
        removed = 0
        for folder, objects in _by_folder(seen.objects).items():
            removed += await self._remove_orphans(folder, objects)
        if removed or seen.leftovers:
            facts = {"objects": removed, "leftovers": seen.leftovers}
            log.warning("removed files that nothing names", extra=facts)
        return False

    def _start(self) -> None:
        self._seen = self._strange = self._older = self._unreadable = 0

    async def _clocks_agree(self) -> bool:
        apart = abs(await self._log.clock() - self._clock())
        if apart > CLOCKS_AGREE:
            log.warning(
                "the sweep of orphaned files is put off:"
                " the clocks of this machine and of PostgreSQL are %d seconds apart",
                apart.total_seconds(),
            )
        return apart <= CLOCKS_AGREE

    def _tell(self) -> None:
        log.info("looked through the image store", extra={"objects": self._seen})
        if self._strange:
            facts = {"objects": self._strange}
            log.warning(
                "files in the image store are nobody's by their names: they stay", extra=facts
            )
        if self._older:
            facts = {"objects": self._older}
            log.warning("files in the image store are older than this log: they stay", extra=facts)
        if self._unreadable:
            facts = {"entries": self._unreadable}
            log.warning("parts of the image store cannot be read: they were passed by", extra=facts)

    async def _remove_orphans(self, folder: str, objects: Sequence[SeenObject]) -> int:
        kind, _, owner = folder.partition("/")
        if kind == "references":
            return await self._remove_references(objects)
        if (ref := _uuid(owner)) is None:
            self._strange += len(objects)
            return 0
        try:
            generation = await self._store.get(Generation, ref)
        except StoreUnavailableError:
            raise
        except Exception:  # an event that cannot be read: the others are not to wait for it
            log.exception("cannot tell whose files these are", extra={"generation": owner})
            return 0
        if generation is None:
            return await self._forget(objects)
        if not generation.closed:
            return 0
        published = {image.key for image in generation.published}
        keys = [seen.key for seen in objects if seen.key not in published]
        await self._images.delete(keys)
        return len(keys)

    async def _remove_references(self, objects: Sequence[SeenObject]) -> int:
        old = _old_ones(objects)
        named = await self._named.among([seen.key for seen in old]) if old else set()
        if named is None:
            log.warning("whose reference images these are is not known yet: they stay")
            return 0
        return await self._forget([seen for seen in old if seen.key not in named])

    async def _forget(self, objects: Sequence[SeenObject]) -> int:
        old = _old_ones(objects)
        its_time = await self._log.age() - FIRST_HOUR if old else A_DAY
        keys = [seen.key for seen in old if seen.age < its_time]
        self._older += len(old) - len(keys)
        return sum([await self._images.forget(key, older_than=A_DAY) for key in keys])


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


def _old_ones(objects: Sequence[SeenObject]) -> list[SeenObject]:
    return [seen for seen in objects if seen.age > A_DAY]


def _by_folder(objects: Sequence[SeenObject]) -> dict[str, list[SeenObject]]:
    folders: dict[str, list[SeenObject]] = {}
    for seen in objects:
        folders.setdefault(seen.key.rpartition("/")[0], []).append(seen)
    return folders

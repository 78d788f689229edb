"""Which files in the image store are nobody's."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application import orphans, pictures
from application.orphans import OrphanSweep
from application.ports.event_store import Accepted, Command
from application.ports.images import ImageStoreUnavailableError
from domain.image import image_key, reference_key
from domain.quota import windows_at
from tests.fakes import MemoryEventStore, MemoryLog, MemoryNamedReferences
from tests.fakes_images import small_png
from tests.generations import events_of, request_command
from tests.studio import Studio, take, taking

PNG = small_png("nobody's")


class Archive(Studio):
    """A studio whose image store is swept."""

    def __init__(self) -> None:
        super().__init__()
        self.images.clock = self.clock
        self.named = MemoryNamedReferences(self.store)
        self.log = MemoryLog(self.store)
        self.sweep = self.sweep_of(self.store, self.log)
        self.references = taking(self.images, self.store)

    def sweep_of(self, store: MemoryEventStore, log: MemoryLog) -> OrphanSweep:
        named = self.named if store is self.store else MemoryNamedReferences(store)
        return OrphanSweep(store, self.images, named, log, clock=self.clock)

    async def walk(self, sweep: OrphanSweep | None = None) -> None:
        while not await (sweep or self.sweep).round():
            pass

    async def forget_marks(self, *logs: MemoryLog) -> None:
        """As an operator does who removes the files by hand."""
        for log in logs:
            lost = await log.not_mine(await self.images.marks())
            self.images._marks = [mark for mark in self.images._marks if mark not in lost]

    async def put(self, key: str) -> str:
        await self.images.put(key, PNG, "image/png")
        return key

    async def put_image_of(self, ref: UUID) -> str:
        return await self.put(image_key(ref, 1, "f" * 64, "image/png"))

    async def decide_to_delete(self, ref: UUID) -> None:
        generation = await self.load(ref)
        generation.delete(by=generation.user_id)
        await self.store.append(Command(events_of(generation)))

    def there(self) -> set[str]:
        return set(self.images.objects)


@pytest.fixture
def archive() -> Archive:
    archive = Archive()
    archive.clock.advance(days=30)
    return archive


async def test_published_pictures_stay_and_what_else_lies_beside_them_goes(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await archive.place(count=2)
    published = {image.key for image in (await archive.perform(ref)).published}
    await archive.put_image_of(ref)
    with caplog.at_level(logging.WARNING):
        await archive.walk()
    assert archive.there() == published
    assert [getattr(line, "objects", 0) for line in caplog.records] == [1]
    archive.clock.advance(days=30)
    await archive.walk()
    assert archive.there() == published


async def test_to_an_open_generation_anything_may_still_belong(archive: Archive) -> None:
    ref = await archive.place()
    key = await archive.put_image_of(ref)
    archive.clock.advance(days=2)
    await archive.walk()
    assert archive.there() == {key}
    await archive.cancel(ref)
    await archive.walk()
    assert archive.there() == set()


async def test_a_deletion_whose_work_was_lost_is_carried_out(archive: Archive) -> None:
    ref = await archive.place(count=2)
    await archive.perform(ref)
    assert len(archive.there()) == 2
    await archive.decide_to_delete(ref)
    await archive.walk()
    assert archive.there() == set()


async def test_the_files_of_an_unknown_generation_go_when_they_are_a_day_old(
    archive: Archive,
) -> None:
    key = await archive.put_image_of(uuid4())
    archive.clock.advance(hours=23)
    await archive.walk()
    assert archive.there() == {key}
    archive.clock.advance(hours=2)
    await archive.walk()
    assert archive.there() == set()


async def test_files_whose_names_say_nobody_stay(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    strange = await archive.put("images/by-hand/1.png")
    archive.clock.advance(days=3)
    await archive.walk()
    assert archive.there() == {strange}
    assert "nobody's by their names" in caplog.text


async def test_where_two_logs_use_one_store_neither_removes_anything(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    other_store = MemoryEventStore(archive.clock)
    other_log = MemoryLog(other_store)
    other = archive.sweep_of(other_store, other_log)
    ref = await archive.place()
    published = {image.key for image in (await archive.perform(ref)).published}
    of_nobody = await archive.put_image_of(uuid4())
    await archive.walk()
    archive.clock.advance(days=2)
    for _ in range(3):
        await archive.walk(other)
        await archive.walk()
    assert archive.there() == {*published, of_nobody}
    assert caplog.text.count("marks that this log does not know") == 2, "each says it once"

    await archive.forget_marks(archive.log)
    await archive.walk()
    assert archive.there() == published


async def test_a_log_that_was_restored_removes_nothing_until_its_old_mark_is_removed(
    archive: Archive,
) -> None:
    await archive.place()
    backup = list(archive.store.rows)
    ref = await archive.place()
    published = {image.key for image in (await archive.perform(ref)).published}
    await archive.walk()
    archive.store.rows = backup
    archive.clock.advance(days=2)
    await archive.walk()
    for _ in range(9):  # further than the mark: other events lie at its position
        await archive.place()
    await archive.walk()
    assert archive.there() == published
    await archive.forget_marks(archive.log)
    await archive.walk()
    assert archive.there() == set(), "the log does not know them, and the operator said so"


async def test_a_new_log_on_a_full_image_store_without_marks_removes_nothing(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    picture = await archive.put_image_of(uuid4())
    reference = await archive.put(reference_key(uuid4(), "f" * 64, "image/png"))
    archive.clock.advance(minutes=30)
    store = MemoryEventStore(archive.clock)
    new = archive.sweep_of(store, MemoryLog(store))
    for _ in range(3):
        archive.clock.advance(days=2)
        await archive.walk(new)
    assert archive.there() == {picture, reference}
    assert [line.objects for line in caplog.records if "older than this log" in line.message] == [
        2,
        2,
        2,
    ]


async def test_what_a_new_log_leaves_beside_another_ones_files_goes(archive: Archive) -> None:
    of_another = await archive.put_image_of(uuid4())
    archive.clock.advance(days=2)
    store = MemoryEventStore(archive.clock)
    new = archive.sweep_of(store, MemoryLog(store))
    archive.clock.advance(hours=2)
    await archive.put_image_of(uuid4())
    archive.clock.advance(days=2)
    await archive.walk(new)
    assert archive.there() == {of_another}


async def test_an_image_store_that_hangs_does_not_hold_the_marking(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "IMAGE_STORE_SECONDS", 0.01)
    monkeypatch.setattr(archive.images, "marks", asyncio.Event().wait)
    (marking, sweep) = archive.sweep.sweeps()
    for hanging in (marking, sweep):
        with pytest.raises(ImageStoreUnavailableError, match="did not answer"):
            await asyncio.wait_for(hanging.round(), 5)


async def test_while_the_clocks_differ_nothing_is_removed(
    archive: Archive, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await archive.put_image_of(uuid4())
    archive.clock.advance(days=2)
    monkeypatch.setattr(archive.sweep, "_clock", lambda: archive.clock() + timedelta(seconds=61))
    await archive.walk()
    assert archive.there() == {key}
    assert "61 seconds apart" in caplog.text
    monkeypatch.setattr(archive.sweep, "_clock", lambda: archive.clock() - timedelta(seconds=59))
    await archive.walk()
    assert archive.there() == set()


async def test_another_log_that_comes_in_the_middle_of_a_walk_ends_it(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "AT_ONCE", 1)
    keys = {await archive.put_image_of(uuid4()) for _ in range(3)}
    archive.clock.advance(days=2)
    assert not await archive.sweep.round()
    other_store = MemoryEventStore(archive.clock)
    await archive.walk(archive.sweep_of(other_store, MemoryLog(other_store)))
    await archive.walk()
    assert len(archive.there() & keys) == 2


async def test_reference_images_go_a_day_after_the_last_request_if_no_event_names_them(
    archive: Archive,
) -> None:
    owner = uuid4()
    sent = [small_png("named"), small_png("refused")]
    taken = (await take(archive.references, owner, sent)).references
    await archive.place(user_id=owner, references=taken[:1])
    archive.clock.advance(hours=23)
    await take(archive.references, owner, [small_png("refused")])
    archive.clock.advance(hours=23)
    await archive.walk()
    assert archive.there() == {reference.key for reference in taken}
    archive.clock.advance(hours=2)
    await archive.walk()
    assert archive.there() == {taken[0].key}


async def test_reference_images_of_a_deleted_generation_go_and_its_retry_says_so(
    archive: Archive,
) -> None:
    owner = uuid4()
    taken = (await take(archive.references, owner, [small_png("named")])).references
    ref = await archive.place(user_id=owner, references=taken)
    await archive.perform(ref)
    await archive.decide_to_delete(ref)
    archive.clock.advance(hours=25)
    await archive.walk()
    assert archive.there() == set()

    again = (await archive.load(ref)).retry(
        id=uuid4(), windows=windows_at(archive.clock()), longest=timedelta(days=1)
    )
    assert isinstance(await archive.store.append(request_command(again)), Accepted)
    ended = await archive.perform(again.id)
    assert ended.error is not None
    assert ended.error[0] == "reference_gone"


async def test_reference_images_stay_while_the_history_is_behind(archive: Archive) -> None:
    key = await archive.put(reference_key(uuid4(), "f" * 64, "image/png"))
    archive.clock.advance(days=2)
    archive.named.behind = True
    await archive.walk()
    assert archive.there() == {key}


async def test_an_unreadable_generation_keeps_its_files_and_no_other_waits(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    broken, ref = await archive.place(), await archive.place()
    kept = await archive.put_image_of(broken)
    await archive.put_image_of(ref)
    await archive.cancel(ref)
    (row,) = [row for row in archive.store.rows if row.stored.originator_id == broken]
    row.stored = replace(row.stored, state=b"{}")
    await archive.walk()
    assert archive.there() == {kept}
    assert "cannot tell whose files these are" in caplog.text


async def test_a_round_looks_at_a_few_objects_only(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "AT_ONCE", 2)
    for _ in range(5):
        await archive.put_image_of(uuid4())
    archive.clock.advance(days=2)
    left = []
    while not await archive.sweep.round():
        left.append(len(archive.there()))
    assert left == [3, 1, 0]


async def test_after_an_outage_of_the_image_store_a_new_walk_begins(archive: Archive) -> None:
    await archive.put_image_of(uuid4())
    archive.clock.advance(days=2)
    archive.images.unavailable = True
    with pytest.raises(ImageStoreUnavailableError):
        await archive.sweep.round()
    archive.images.unavailable = False
    await archive.walk()
    await archive.walk()
    assert archive.there() == set()

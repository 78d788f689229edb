"""Which files in the image store are nobody's."""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from application import orphans
from application.orphans import OrphanSweep
from application.ports import Command, ImageStoreUnavailableError
from application.references import References
from domain.image import image_key, reference_key
from infrastructure.images import PillowInspector, decode_reference
from tests.fakes import MemoryNames
from tests.fakes_images import small_png
from tests.generations import events_of
from tests.unit.test_perform import Studio

PNG = small_png("nobody's")


class Archive(Studio):
    """A studio whose image store is swept."""

    def __init__(self) -> None:
        super().__init__()
        self.images.clock = self.clock
        self.names = MemoryNames(self.store)
        self.sweep = OrphanSweep(self.store, self.images, self.names)
        self.references = References(
            images=self.images, inspector=PillowInspector(), decode=decode_reference
        )

    async def walk(self) -> None:
        while not await self.sweep.round():
            pass

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


async def test_files_older_than_the_log_belong_to_another_and_stay(
    archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    image = await archive.put_image_of(uuid4())
    reference = await archive.put(reference_key(uuid4(), "f" * 64, "image/png"))
    strange = await archive.put("images/by-hand/1.png")
    archive.clock.advance(days=3)
    archive.names = MemoryNames(archive.store)  # a log that began just now
    archive.sweep = OrphanSweep(archive.store, archive.images, archive.names)
    archive.clock.advance(days=2)
    await archive.walk()
    assert archive.there() == {image, reference, strange}
    assert "not of this log" in caplog.text


async def test_reference_images_go_a_day_after_the_last_request_if_no_event_names_them(
    archive: Archive,
) -> None:
    owner = uuid4()
    taken = await archive.references.take(owner, [small_png("named"), small_png("refused")])
    await archive.place(user_id=owner, references=taken[:1])
    archive.clock.advance(hours=23)
    await archive.references.take(owner, [small_png("refused")])
    archive.clock.advance(hours=23)
    await archive.walk()
    assert archive.there() == {reference.key for reference in taken}
    archive.clock.advance(hours=2)
    await archive.walk()
    assert archive.there() == {taken[0].key}


async def test_reference_images_stay_while_the_history_is_behind(archive: Archive) -> None:
    key = await archive.put(reference_key(uuid4(), "f" * 64, "image/png"))
    archive.clock.advance(days=2)
    archive.names.behind = True
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

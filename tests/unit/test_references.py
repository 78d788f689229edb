"""References and masks are taken all together or not at all, and without what is private."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from PIL import Image

from application import pictures, references_together
from application.ports.event_store import Accepted, Command
from application.ports.images import MOST_PIXELS_TOGETHER, ImageStoreUnavailableError
from application.references import (
    References,
    Taken,
    TooManyReferencesError,
)
from application.references_together import UnusableReferencesError
from domain.generation import Generation
from domain.image import StoredImage, image_key
from tests.e2e.stack import encoded
from tests.fakes import MemoryEventStore
from tests.fakes_images import FakeImageStore, small_png
from tests.generations import COST, events_of, new_generation, request_command
from tests.photographs import photograph, says_nothing_private, scene, written
from tests.studio import take, taking

GOOD = base64.b64encode(encoded("PNG")).decode()
NOWHERE = "0d2f0a39-2f0e-4a52-9f3c-0a3b6e9a8d11"


@dataclass
class Desk:
    """Where one user's references are taken."""

    images: FakeImageStore = field(default_factory=FakeImageStore)
    store: MemoryEventStore = field(default_factory=MemoryEventStore)
    user: UUID = field(default_factory=uuid4)
    most_pixels_together: int = MOST_PIXELS_TOGETHER

    @property
    def references(self) -> References:
        return taking(self.images, self.store, max_pixels_together=self.most_pixels_together)

    async def take(self, *sent: str | bytes, mask: str | bytes | None = None) -> Taken:
        return await take(self.references, self.user, sent, mask)

    async def refusals(
        self, *sent: str | bytes, mask: str | bytes | None = None
    ) -> dict[object, str]:
        with pytest.raises(UnusableReferencesError) as caught:
            await self.take(*sent, mask=mask)
        return dict(caught.value.reasons)

    async def generation(self, *pictures: bytes, user_id: UUID | None = None) -> Generation:
        """One that was completed with these pictures, failed without any."""
        now = self.store.now()
        asked = new_generation(now, user_id=user_id or self.user, count=max(1, len(pictures)))
        assert isinstance(await self.store.append(request_command(asked)), Accepted)
        made = await self.store.get(Generation, asked.id)
        assert made is not None
        if pictures:
            call = made.start_call(provider="fake", model="m", images=(1,))
            stored = [await self.stored(made.id, n, data) for n, data in enumerate(pictures, 1)]
            made.answer_call(
                call, provider_request_id=None, usage={}, cost=COST, images=tuple(stored)
            )
        made.finish(
            urls={number: f"https://images.example/{number}" for number in made.images},
            now=now + timedelta(seconds=9),
        )
        assert isinstance(await self.store.append(Command(events_of(made))), Accepted)
        return made

    async def stored(self, id_: UUID, number: int, data: bytes) -> StoredImage:
        found = await self.references._inspector.inspect(data)
        key = image_key(id_, number, found.sha256, found.content_type)
        await self.images.put(key, data, found.content_type)
        return StoredImage(
            number=number,
            key=key,
            sha256=found.sha256,
            content_type=found.content_type,
            width=found.width,
            height=found.height,
            bytes=len(data),
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_what_is_taken_lies_under_its_owner(desk: Desk) -> None:
    taken = await desk.take(GOOD, encoded("JPEG"))

    kinds = [reference.content_type for reference in taken.references]
    assert kinds == ["image/png", "image/jpeg"]
    assert all(one.key.startswith(f"references/{desk.user}/") for one in taken.references)
    assert taken.references[0].bytes == len(encoded("PNG"))
    assert {one.key for one in taken.references} == desk.images.objects.keys()


@pytest.mark.parametrize(
    "sent", [["no base64!", GOOD, "data:text/html;base64,aGk="], ["aGVsbG8=", GOOD, "aGVsbG8="]]
)
async def test_what_is_no_image_is_told_at_once_and_nothing_is_stored(
    desk: Desk, sent: list[str]
) -> None:
    assert list(await desk.refusals(*sent)) == [0, 2]
    assert not desk.images.objects


async def test_of_more_at_once_than_it_looks_at_the_rest_is_refused() -> None:
    references = taking(FakeImageStore(), MemoryEventStore(), most_at_once=3)

    asked = [take(references, uuid4(), [GOOD]) for _ in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    without = await asyncio.gather(*(take(references, uuid4(), []) for _ in range(5)))

    refused = [answer for answer in answers if isinstance(answer, TooManyReferencesError)]
    assert len(refused) == 2
    assert without == [Taken()] * 5
    assert await take(references, uuid4(), [GOOD])


async def test_one_user_does_not_keep_others_references_out() -> None:
    references = taking(FakeImageStore(), MemoryEventStore(), most_at_once=4, most_of_a_user=2)
    flooding = uuid4()

    asked = [take(references, user, [GOOD]) for user in (*[flooding] * 5, uuid4(), uuid4())]
    answers = await asyncio.gather(*asked, return_exceptions=True)

    refused = [isinstance(answer, TooManyReferencesError) for answer in answers]
    assert refused == [False, False, True, True, True, False, False]
    assert await take(references, flooding, [GOOD])
    assert not references._at_once


async def test_sixteen_photographs_are_stored_upright_and_without_what_they_say(
    desk: Desk,
) -> None:
    sent = [photograph("jpeg", 1 + k % 8, scene((48, 32 + k))) for k in range(16)]

    taken = await desk.take(*sent)

    assert len(desk.images.objects) == len(taken.references) == 16
    for data in desk.images.objects.values():
        says_nothing_private(data)
    assert [(one.width, one.height) for one in taken.references[3:6]] == [
        (48, 35),
        (36, 48),
        (37, 48),
    ]


async def test_a_request_says_the_same_whatever_becomes_of_its_photograph(desk: Desk) -> None:
    """Two releases may turn a picture upright in different ways."""
    photo = photograph("jpeg", 6)
    text = base64.b64encode(photo).decode()

    said = (await desk.references.read([photo])).said

    assert (await desk.references.read([text])).said == said
    assert (await desk.references.read([f"data:image/jpeg;base64,{text}"])).said == said
    assert (await desk.references.read([photograph("jpeg", 8)])).said != said
    assert (await desk.references.read([NOWHERE.upper()])).said == {"0": NOWHERE}


# --- pictures of earlier generations ----------------------------------------------------------


async def test_a_picture_of_an_earlier_generation_becomes_a_reference_of_its_own(
    desk: Desk,
) -> None:
    first, second = small_png("first"), small_png("second")
    made = await desk.generation(first, second)

    taken = await desk.take(f"{made.id}", encoded("JPEG"), f"{made.id}/2", f"{made.id}".upper())

    lineage = [(one.generation, one.number) for one in taken.references]
    assert lineage == [(made.id, 1), (None, None), (made.id, 2), (made.id, 1)]
    assert desk.images.objects[taken.references[0].key] == first
    assert desk.images.objects[taken.references[2].key] == second
    assert all(one.key.startswith(f"references/{desk.user}/") for one in taken.references)


async def test_somebody_elses_and_an_unknown_generation_are_told_alike(desk: Desk) -> None:
    theirs = await desk.generation(small_png("theirs"), user_id=uuid4())

    reasons = await desk.refusals(f"{theirs.id}", GOOD, NOWHERE)

    assert list(reasons) == [0, 2]
    assert reasons[0] == reasons[2] == "There is no such generation, or it is not yours."
    assert len(desk.images.objects) == 1


async def test_what_has_no_picture_says_why(desk: Desk) -> None:
    queued = new_generation(desk.store.now(), user_id=desk.user)
    await desk.store.append(request_command(queued))
    failed = await desk.generation()
    deleted = await desk.generation(small_png("deleted"))
    deleted.delete(by=desk.user)
    assert isinstance(await desk.store.append(Command(events_of(deleted))), Accepted)
    made = await desk.generation(small_png("a"), small_png("b"))

    reasons = await desk.refusals(
        f"{queued.id}", f"{failed.id}", f"{deleted.id}", f"{made.id}/3", f"{made.id}/0"
    )

    assert "is queued" in reasons[0]
    assert "is failed" in reasons[1]
    assert "was deleted" in reasons[2]
    assert reasons[3] == "This generation has no picture 3; it has 1, 2."
    assert "no picture 0" in reasons[4]


async def test_a_picture_that_left_the_image_store_is_told(desk: Desk) -> None:
    made = await desk.generation(small_png("gone"))
    await desk.images.delete(list(desk.images.objects))

    assert "no longer in the image store" in (await desk.refusals(GOOD, f"{made.id}"))[1]


async def test_named_pictures_count_among_the_pixels_and_bytes_together(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = small_png("made")
    made = await desk.generation(picture, small_png("other"))
    before = dict(desk.images.objects)
    named = [f"{made.id}", f"{made.id}/2", f"{made.id}"]

    monkeypatch.setattr(references_together, "MOST_PIXELS_TOGETHER", 2 * 16 * 16)
    assert await desk.refusals(*named) == {
        2: "The images have more than 512 pixels together. Send fewer or smaller ones."
    }
    monkeypatch.setattr(references_together, "MOST_PIXELS_TOGETHER", 3 * 16 * 16)
    monkeypatch.setattr(
        references_together, "MOST_BYTES_TOGETHER", 3 * len(picture) + len(encoded("PNG"))
    )
    assert len((await desk.take(GOOD, *named)).references) == 4
    monkeypatch.setattr(references_together, "MOST_BYTES_TOGETHER", 3 * len(picture))
    refused = await desk.refusals(*named, GOOD)
    assert list(refused) == [2]
    assert refused[2].endswith("bytes together. Send fewer or smaller ones.")
    assert len(desk.images.objects) == len(before) + 3


async def test_files_fit_beside_the_pictures_that_are_named(desk: Desk) -> None:
    made = await desk.generation(small_png("made"))
    desk.most_pixels_together = 16 * 16 + 4 * 4
    assert (await desk.refusals(f"{made.id}", written(scene((4, 5)), "png"))) == {
        1: "The images have more than 272 pixels together. Send fewer or smaller ones."
    }
    assert len((await desk.take(f"{made.id}", written(scene((4, 4)), "png"))).references) == 2


async def test_all_of_it_is_kept_in_time_or_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "IMAGE_STORE_SECONDS", 0.05)
    desk.images.before_put = asyncio.Event().wait
    with pytest.raises(ImageStoreUnavailableError, match="did not answer within"):
        await desk.take(GOOD, encoded("JPEG"))


@pytest.mark.parametrize("text", [NOWHERE.replace("-", ""), f"{NOWHERE}/", f"{NOWHERE}/x", "1"])
async def test_what_only_looks_like_an_id_is_no_id(desk: Desk, text: str) -> None:
    assert "generation" not in (await desk.refusals(text))[0]


# --- masks ------------------------------------------------------------------------------------


def mask(size: tuple[int, int] = (32, 48), mode: str = "RGBA") -> bytes:
    return written(Image.new(mode, size), "png")


async def test_a_mask_is_as_large_as_the_first_reference_after_it_was_turned(desk: Desk) -> None:
    photo = photograph("jpeg", 6, scene((48, 32)))

    taken = await desk.take(photo, GOOD, mask=base64.b64encode(mask()).decode())

    assert taken.mask is not None
    assert (taken.mask.width, taken.mask.height) == (32, 48)
    assert desk.images.objects[taken.mask.key] == mask()
    assert len(taken.references) == 2
    for wrong in ((31, 48), (32, 47)):
        assert "the same size" in (await desk.refusals(photo, mask=mask(wrong)))["mask"]
    refused = await desk.refusals(photo, GOOD, mask=mask((48, 32)))
    assert refused["mask"].startswith("The mask is 48x32, the first reference image 32x48")


async def test_a_mask_may_be_for_a_picture_of_an_earlier_generation(desk: Desk) -> None:
    made = await desk.generation(small_png("made"))

    taken = await desk.take(f"{made.id}", mask=mask((16, 16), "LA"))

    assert taken.mask is not None
    assert "16x16" in (await desk.refusals(f"{made.id}", mask=mask()))["mask"]


async def test_a_mask_is_for_an_earlier_picture_as_it_stands_upright(desk: Desk) -> None:
    made = await desk.generation(photograph("jpeg", 6, scene((48, 32))))
    before = dict(desk.images.objects)

    refused = await desk.refusals(f"{made.id}", GOOD, mask=mask((48, 32)))

    assert refused["mask"].startswith("The mask is 48x32, the first reference image 32x48")
    assert desk.images.objects == before
    taken = await desk.take(f"{made.id}", GOOD, mask=mask((32, 48)))
    assert taken.mask is not None
    assert (taken.references[0].width, taken.references[0].height) == (32, 48)


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (mask(mode="RGB"), "alpha channel"),
        (written(Image.new("RGBA", (32, 48)), "webp"), "alpha channel"),
        (b"hello", "no PNG"),
        ("no base64", "not base64"),
        (NOWHERE, "not base64"),
    ],
    ids=["no alpha", "no png", "no image", "no base64", "an id"],
)
async def test_what_is_no_mask_is_refused(desk: Desk, sent: str | bytes, sentence: str) -> None:
    refused = await desk.refusals(written(scene((32, 48)), "png"), mask=sent)

    assert list(refused) == ["mask"]
    assert sentence in refused["mask"]
    assert not desk.images.objects


async def test_a_mask_alone_is_refused(desk: Desk) -> None:
    assert "Send that image" in (await desk.refusals(mask=mask()))["mask"]

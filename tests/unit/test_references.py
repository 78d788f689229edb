"""References are taken all together or not at all."""

from __future__ import annotations

import asyncio
import base64
from uuid import uuid4

import pytest

from application.references import (
    References,
    TooManyReferencesError,
    UnusableReferencesError,
)
from infrastructure.images import PillowInspector, decode_reference
from tests.e2e.stack import encoded
from tests.fakes_images import FakeImageStore


def taking(images: FakeImageStore, most_at_once: int = 64) -> References:
    return References(
        images=images,
        inspector=PillowInspector(),
        decode=decode_reference,
        most_at_once=most_at_once,
    )


async def test_what_is_taken_lies_under_its_owner() -> None:
    images, user = FakeImageStore(), uuid4()
    sent = [base64.b64encode(encoded("PNG")).decode(), base64.b64encode(encoded("JPEG")).decode()]

    taken = await taking(images).take(user, sent)

    assert [reference.content_type for reference in taken] == ["image/png", "image/jpeg"]
    assert all(reference.key.startswith(f"references/{user}/") for reference in taken)
    assert taken[0].bytes == len(encoded("PNG"))


GOOD = base64.b64encode(encoded("PNG")).decode()


@pytest.mark.parametrize(
    "sent", [["no base64!", GOOD, "data:text/html;base64,aGk="], ["aGVsbG8=", GOOD, "aGVsbG8="]]
)
async def test_what_is_no_image_is_told_at_once_and_nothing_is_stored(sent: list[str]) -> None:
    images = FakeImageStore()

    with pytest.raises(UnusableReferencesError) as caught:
        await taking(images).take(uuid4(), sent)

    assert list(caught.value.reasons) == [0, 2]
    assert not images.objects


async def test_of_more_at_once_than_it_looks_at_the_rest_is_refused() -> None:
    references = taking(FakeImageStore(), most_at_once=3)

    asked = [references.take(uuid4(), [GOOD]) for _ in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    without = await asyncio.gather(*(references.take(uuid4(), []) for _ in range(5)))

    refused = [answer for answer in answers if isinstance(answer, TooManyReferencesError)]
    assert len(refused) == 2
    assert without == [()] * 5
    assert await references.take(uuid4(), [GOOD])

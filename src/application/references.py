"""Reference images and masks: verified by their content, cleaned, stored before they are named."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import UUID

from application.at_once import a_few_at_once
from application.earlier_pictures import EarlierPicture, EarlierPictures, NotToBeHadError
from application.pictures import in_time
from application.ports.images import (
    ImageEditor,
    ImageFacts,
    ImageInspector,
    ImageNotFoundError,
    ImageStore,
    NotAnImageError,
)
from application.references_together import (
    MASK_OF_NOTHING,
    Place,
    UnusableReferencesError,
    refuse_unfit_mask,
    too_much_with,
)
from domain.image import PublishedImage, ReferenceImage, reference_key

Decode = Callable[[str], bytes]
"""From base64 or a data URL to bytes, in any thread. Raises NotAnImageError."""

MOST_OF_A_USER = 16
MOST_AT_ONCE = 64  # each looks at one image at a time, and the threads that do are two
MOST_COPIED_AT_ONCE = 4  # a short text brings a large picture into memory

GONE = "The picture is no longer in the image store. Send it as a file."

T = TypeVar("T")


class TooManyReferencesError(Exception):
    """Of this many requests one process looks at the reference images already."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The reference images of {most} requests are just being looked at. Send it again in a"
            " moment."
        )


@dataclass(frozen=True)
class Sent:
    """What came along with a prompt, by its place: files, and pictures of earlier generations.

    `said` stands for it where requests are compared: hashes of the files as they came, and names.
    """

    files: Mapping[Place, bytes] = field(default_factory=dict)
    earlier: Mapping[Place, EarlierPicture] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What was stored of it, under its owner."""

    references: tuple[ReferenceImage, ...] = ()
    mask: ReferenceImage | None = None


@dataclass(frozen=True)
class _Clean:
    """An image as it is to be stored, and what it is."""

    data: bytes
    facts: ImageFacts


class References:
    """Takes what users send along with a prompt, of at most `most_at_once` requests at a time.

    Of those `most_of_a_user` may be one user's: nobody keeps the others out.
    """

    def __init__(
        self,
        *,
        images: ImageStore,
        inspector: ImageInspector,
        editor: ImageEditor,
        earlier: EarlierPictures,
        decode: Decode,
        most_at_once: int = MOST_AT_ONCE,
        most_of_a_user: int = MOST_OF_A_USER,
    ) -> None:
        self._images = images
        self._inspector = inspector
        self._editor = editor
        self._earlier = earlier
        self._decode = decode
        self._most_at_once, self._most_of_a_user = most_at_once, most_of_a_user
        self._at_once: Counter[UUID] = Counter()
        self._copying = asyncio.Semaphore(MOST_COPIED_AT_ONCE)

    async def read(
        self, references: Sequence[str | bytes], mask: str | bytes | None = None
    ) -> Sent:
        """Decode what is text and names no earlier picture. Raises UnusableReferencesError."""
        if mask is not None and not references:
            raise UnusableReferencesError({"mask": MASK_OF_NOTHING})
        sent: dict[Place, str | bytes] = dict(enumerate(references))
        if mask is not None:
            sent["mask"] = mask
        earlier: dict[Place, EarlierPicture] = {
            place: named
            for place, one in enumerate(references)
            if (named := EarlierPicture.named(one)) is not None
        }
        read = {
            place: await asyncio.to_thread(self._decoded, one)
            for place, one in sent.items()
            if place not in earlier
        }
        _refuse_the_unusable(read)
        files = _usable(read)
        said = {f"{place}": f"{named}" for place, named in earlier.items()}
        for place, data in files.items():
            said[f"{place}"] = await asyncio.to_thread(_digest, data)
        return Sent(files, earlier, said)

    async def take(self, user_id: UUID, sent: Sent) -> Taken:
        """Verify all of them, clean them, then store all of them, under their owner.

        Raises UnusableReferencesError, ImageStoreUnavailableError, StoreUnavailableError,
        TooManyReferencesError.
        """
        if not sent.files and not sent.earlier:
            return Taken()
        if self._at_once.total() >= self._most_at_once:
            raise TooManyReferencesError(self._most_at_once)
        if self._at_once[user_id] >= self._most_of_a_user:
            raise TooManyReferencesError(self._most_of_a_user)
        self._at_once[user_id] += 1
        try:
            return await self._take(user_id, sent)
        finally:
            self._at_once[user_id] -= 1
            self._at_once += Counter()  # forgets who has none there

    async def _take(self, user_id: UUID, sent: Sent) -> Taken:
        found: dict[Place, PublishedImage | NotToBeHadError | NotAnImageError] = {
            place: await self._find(user_id, earlier) for place, earlier in sent.earlier.items()
        }
        pictures = _usable(found)
        found |= too_much_with(sent.files, pictures)
        besides = sum(picture.width * picture.height for picture in pictures.values())
        looked_at = await self._look_at(sent.files, besides)
        _refuse_the_unusable({**found, **looked_at})
        files = _usable(looked_at)
        if 0 in files and "mask" in files:
            refuse_unfit_mask(files["mask"].facts, files[0].facts)
        return await in_time(self._keep(user_id, sent, pictures, files))

    async def _keep(
        self,
        user_id: UUID,
        sent: Sent,
        pictures: Mapping[Place, PublishedImage],
        files: Mapping[Place, _Clean],
    ) -> Taken:
        """The first reference before all others: the mask may turn out not to fit it."""
        mask = files.get("mask")

        async def keep(place: Place) -> ReferenceImage:
            if place in files:
                return await self._store(user_id, files[place])
            origin = sent.earlier[place].generation
            for_mask = mask if place == 0 else None
            return await self._copy(user_id, place, origin, pictures[place], for_mask)

        places: list[Place] = [*range(len(sent.said) - (mask is not None))]
        places += ["mask"] if mask else []
        kept = [await keep(places[0])]
        kept += await a_few_at_once(partial(keep, place) for place in places[1:])
        return Taken(tuple(kept[:-1]), kept[-1]) if mask else Taken(tuple(kept))

    def _decoded(self, sent: str | bytes) -> bytes | NotAnImageError:
        try:
            return sent if isinstance(sent, bytes) else self._decode(sent)
        except NotAnImageError as error:
            return error

    async def _find(
        self, user_id: UUID, earlier: EarlierPicture
    ) -> PublishedImage | NotToBeHadError:
        try:
            return await self._earlier.find(user_id, earlier)
        except NotToBeHadError as error:
            return error

    async def _look_at(
        self, files: Mapping[Place, bytes], besides: int
    ) -> dict[Place, _Clean | NotAnImageError]:
        inspected = await self._inspector.inspect_all([*files.values()], besides=besides)
        return {
            place: facts if isinstance(facts, NotAnImageError) else await self._clean(data, facts)
            for (place, data), facts in zip(files.items(), inspected, strict=True)
        }

    async def _clean(self, data: bytes, facts: ImageFacts) -> _Clean | NotAnImageError:
        try:
            cleaned = await self._editor.cleaned(data)
            is_changed = cleaned != data
            return _Clean(cleaned, await self._inspector.inspect(cleaned) if is_changed else facts)
        except NotAnImageError as error:
            return error

    async def _copy(
        self,
        user_id: UUID,
        place: Place,
        generation: UUID,
        picture: PublishedImage,
        mask: _Clean | None,
    ) -> ReferenceImage:
        """A reference image of its own: the generation may be deleted. The mask may be for it."""
        facts = ImageFacts(picture.content_type, picture.width, picture.height, picture.sha256)
        async with self._copying:
            try:
                clean = await self._clean(await self._images.get(picture.key), facts)
            except ImageNotFoundError as error:
                raise UnusableReferencesError({place: GONE}) from error
            if isinstance(clean, NotAnImageError):
                raise UnusableReferencesError({place: f"{clean}"})
            if mask:
                refuse_unfit_mask(mask.facts, clean.facts)
            return (await self._store(user_id, clean)).model_copy(
                update={"generation": generation, "number": picture.number}
            )

    async def _store(self, user_id: UUID, clean: _Clean) -> ReferenceImage:
        facts = clean.facts
        key = reference_key(user_id, facts.sha256, facts.content_type)
        await self._images.put(key, clean.data, facts.content_type)
        return ReferenceImage(
            sha256=facts.sha256,
            key=key,
            content_type=facts.content_type,
            width=facts.width,
            height=facts.height,
            bytes=len(clean.data),
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refuse_the_unusable(found: Mapping[Place, object]) -> None:
    reasons = {
        place: f"{why}"
        for place, why in found.items()
        if isinstance(why, NotAnImageError | NotToBeHadError)
    }
    if reasons:
        raise UnusableReferencesError(reasons)


def _usable(found: Mapping[Place, T | NotAnImageError | NotToBeHadError]) -> dict[Place, T]:
    return {
        place: one
        for place, one in found.items()
        if not isinstance(one, NotAnImageError | NotToBeHadError)
    }

"""Reference images and masks: verified by their content, cleaned, stored before they are named."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from uuid import UUID

from application.earlier_pictures import EarlierPicture, EarlierPictures, NotToBeHadError
from application.ports.images import (
    ImageEditor,
    ImageFacts,
    ImageInspector,
    ImageNotFoundError,
    ImageStore,
    NotAnImageError,
)
from domain.image import PublishedImage, ReferenceImage, reference_key

Decode = Callable[[str], bytes]
"""From base64 or a data URL to bytes, in any thread. Raises NotAnImageError."""

MOST_AT_ONCE = 64  # each looks at one image at a time, and the threads that do are two
MOST_COPIED_AT_ONCE = 4  # a short text brings a large picture into memory

MASK_OF_NOTHING = "A mask says what of a reference image is painted anew. Send that image, too."
MASK_WITHOUT_ALPHA = (
    "The mask is no PNG with an alpha channel. Send one: where it is transparent, the first"
    " reference image is painted anew."
)
GONE = "The picture is no longer in the image store. Send it as a file."

T = TypeVar("T")
Place = int | Literal["mask"]
"""Which of the images of a request: a reference by its index, or the mask."""


class UnusableReferencesError(Exception):
    """Some of the images cannot be used; `reasons` says why, by their place."""

    def __init__(self, reasons: Mapping[Place, str]) -> None:
        self.reasons = reasons
        super().__init__(
            f"{len(reasons)} of the reference images cannot be used. "
            "Send complete PNG, JPEG or WebP images, or ids of completed generations of yours."
        )


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
    """Takes what users send along with a prompt, of at most `most_at_once` requests at a time."""

    def __init__(
        self,
        *,
        images: ImageStore,
        inspector: ImageInspector,
        editor: ImageEditor,
        earlier: EarlierPictures,
        decode: Decode,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        self._images = images
        self._inspector = inspector
        self._editor = editor
        self._earlier = earlier
        self._decode = decode
        self._most_at_once = most_at_once
        self._at_once = 0
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
        if self._at_once >= self._most_at_once:
            raise TooManyReferencesError(self._most_at_once)
        self._at_once += 1
        try:
            return await self._take(user_id, sent)
        finally:
            self._at_once -= 1

    async def _take(self, user_id: UUID, sent: Sent) -> Taken:
        found = {
            place: await self._find(user_id, earlier) for place, earlier in sent.earlier.items()
        }
        looked_at = await self._look_at(sent.files)
        _refuse_the_unusable({**found, **looked_at})
        pictures, files = _usable(found), _usable(looked_at)
        _refuse_unfit_mask(files, pictures)
        taken: dict[Place, ReferenceImage] = {}
        for place in range(len(sent.said) - ("mask" in files)):
            taken[place] = (
                await self._copy(user_id, place, sent.earlier[place].generation, pictures[place])
                if place in pictures
                else await self._store(user_id, files[place])
            )
        mask = await self._store(user_id, files["mask"]) if "mask" in files else None
        return Taken(tuple(taken.values()), mask)

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

    async def _look_at(self, files: Mapping[Place, bytes]) -> dict[Place, _Clean | NotAnImageError]:
        inspected = await self._inspector.inspect_all([*files.values()])
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
        self, user_id: UUID, place: Place, generation: UUID, picture: PublishedImage
    ) -> ReferenceImage:
        """A reference image of its own: the generation may be deleted."""
        facts = ImageFacts(picture.content_type, picture.width, picture.height, picture.sha256)
        async with self._copying:
            try:
                clean = await self._clean(await self._images.get(picture.key), facts)
            except ImageNotFoundError as error:
                raise UnusableReferencesError({place: GONE}) from error
            _refuse_the_unusable({place: clean})
            return (await self._store(user_id, _usable({place: clean})[place])).model_copy(
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


def _refuse_unfit_mask(
    files: Mapping[Place, _Clean], pictures: Mapping[Place, PublishedImage]
) -> None:
    if "mask" not in files:
        return
    mask, first = files["mask"].facts, files[0].facts if 0 in files else pictures[0]
    if mask.content_type != "image/png" or not mask.alpha:
        raise UnusableReferencesError({"mask": MASK_WITHOUT_ALPHA})
    if (mask.width, mask.height) != (first.width, first.height):
        raise UnusableReferencesError(
            {
                "mask": f"The mask is {mask.width}x{mask.height}, the first reference image"
                f" {first.width}x{first.height}, turned upright. Send a mask of the same size."
            }
        )

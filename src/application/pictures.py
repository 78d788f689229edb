"""Pictures on their way from a provider's answer to their permanent URL."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar
from uuid import UUID

from application.at_once import a_few_at_once
from application.ports.event_store import StoreUnavailableError
from application.ports.images import (
    ImageEditor,
    ImageFacts,
    ImageInspector,
    ImageStore,
    ImageStoreUnavailableError,
    NotAnImageError,
    ObjectDiffersError,
    ObjectTooLargeError,
    Spool,
    SpoolFullError,
)
from application.ports.providers import Answer, CallRequest, Picture
from application.preparing import Enclosed
from application.recording import patiently
from domain.failure import Failure
from domain.image import CONTENT_TYPES, ContentType, Format, ReferenceImage, StoredImage, image_key

log = logging.getLogger(__name__)

IMAGE_STORE_SECONDS = 30.0
CONFIRM_SECONDS = 0.2
SHORTEST_SIDE = 16  # pixels; what is smaller is no picture that anybody asked for
UNREADABLE = Failure(kind="no_image", message="the answer held no readable picture")
NOT_KEPT = Failure(
    kind="image_store_unavailable",
    message="A picture could not be kept, nobody foresaw why. The worker's log says more.",
)

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """Pictures that are safe; `urls`, by key, are of those that were seen in the store."""

    images: tuple[StoredImage, ...]
    urls: Mapping[str, str]


@dataclass(frozen=True)
class Looked:
    """What became of pictures: the URLs of those that can be read, by number; which never will be.

    Those that are in neither may be readable later.
    """

    urls: Mapping[int, str]
    refused: frozenset[int]


@dataclass(frozen=True)
class _Finish:
    """What becomes of a picture that came: see Pictures.keep."""

    format: Format | None
    compression: int | None
    watermarks: tuple[str, ...]


class Pictures:
    """Verifies what providers send, keeps it safe, and says what can be read."""

    def __init__(
        self, images: ImageStore, spool: Spool, inspector: ImageInspector, editor: ImageEditor
    ) -> None:
        self._images = images
        self._spool = spool
        self._inspector = inspector
        self._editor = editor

    async def read(self, key: str) -> bytes:
        """A stored object. Raises ImageNotFoundError, ImageStoreUnavailableError."""
        return await in_time(self._images.get(key))

    async def enclosed(
        self, references: Iterable[ReferenceImage], mask: ReferenceImage | None
    ) -> Enclosed:
        """What was stored to go along with a prompt: all of it takes as long as one may.

        Raises ImageNotFoundError, ImageStoreUnavailableError.
        """

        async def read(stored: ReferenceImage) -> Picture:
            return Picture(await self._images.get(stored.key), stored.content_type)

        wanted = [*references, *((mask,) if mask else ())]
        pictures = await in_time(a_few_at_once(partial(read, one) for one in wanted))
        return Enclosed(tuple(pictures[:-1]), pictures[-1]) if mask else Enclosed(tuple(pictures))

    async def keep(
        self,
        request: CallRequest,
        answer: Answer,
        *,
        wanted: Format | None = None,
        compression: int | None = None,
        watermarks: tuple[str, ...] = (),
    ) -> Kept | Failure:
        """Verify and store the pictures of an answer, all at once; why none was kept, if none was.

        What came in another format than `wanted` is converted, `watermarks` are marks that the
        model puts into every picture. All together they take as long as one may: what is paid for
        is soon to be recorded.
        """
        finish = _Finish(wanted, compression, watermarks)
        async with asyncio.TaskGroup() as group:
            keeping = [
                group.create_task(self._try_to_keep(request.generation, number, picture, finish))
                for number, picture in zip(request.images, answer.pictures, strict=False)
            ]
        ended = [task.result() for task in keeping]
        kept = [image for image in ended if isinstance(image, StoredImage)]
        if kept:
            return Kept(tuple(kept), await self._seen_soon(kept))
        failures = [why for why in ended if isinstance(why, Failure)]
        return next((why for why in failures if why != UNREADABLE), UNREADABLE)

    async def look_at(self, images: Iterable[StoredImage]) -> Looked:
        """Which can be read from the image store, under which permanent URLs.

        What still lies in the spool is moved there first. The store is asked for all of them at
        once: however many they are, they take as long as one may.
        """
        async with asyncio.TaskGroup() as group:
            looking = {image: group.create_task(self._look_at_one(image)) for image in images}
        found = {image: look.result() for image, look in looking.items()}
        return Looked(
            {i.number: self._images.url(i.key) for i, is_there in found.items() if is_there},
            frozenset(image.number for image, is_there in found.items() if is_there is None),
        )

    async def erase(self, keys: Sequence[str]) -> None:
        """Leave nothing of these objects anywhere; absent ones are no error.

        Raises ImageStoreUnavailableError, StoreUnavailableError.
        """
        await in_time(self._images.delete(keys))
        for key in keys:
            await self._spool.remove(key)

    async def forget(self, images: Iterable[StoredImage]) -> None:
        """Leave nothing of an ended generation in the spool."""
        for image in images:
            if image.held == "spool":
                try:
                    await self._spool.remove(image.key)
                except StoreUnavailableError as error:
                    log.warning("a picture stays in the spool for now: %s", error)

    async def _seen_soon(self, images: Sequence[StoredImage]) -> Mapping[str, str]:
        """Which can be read already. They are paid for and not recorded: it may not take long."""
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                urls = (await self.look_at(i for i in images if i.held == "store")).urls
        except TimeoutError:
            return {}
        except Exception:
            log.exception("pictures that are safe could not be looked at")
            return {}
        return {image.key: urls[image.number] for image in images if image.number in urls}

    async def _look_at_one(self, image: StoredImage) -> bool | None:
        """Whether it can be read now; None when the image store will never take it."""
        try:
            if image.held == "spool":
                return await self._move_from_spool(image)
            return await in_time(self._images.holds(image.key, sha256=image.sha256))
        except ImageStoreUnavailableError as error:
            log.warning("a picture cannot be read yet: %s", error)
            return False
        except (ObjectDiffersError, ObjectTooLargeError) as error:
            log.error("a picture is lost: %s", error)
            return None

    async def _try_to_keep(
        self, generation: UUID, number: int, picture: Picture, finish: _Finish
    ) -> StoredImage | Failure:
        try:
            return await self._keep_one(generation, number, picture, finish)
        except NotAnImageError as error:
            log.warning("the provider's picture is unusable: %s", error)
            return UNREADABLE
        except (SpoolFullError, ObjectDiffersError, ObjectTooLargeError) as error:
            log.error("a picture is lost: %s", error)
            return Failure(kind="image_store_unavailable", message=str(error))
        except Exception:  # the other pictures of a paid answer are not to be lost with this one
            log.exception("a picture is lost")
            return NOT_KEPT

    async def _keep_one(
        self, generation: UUID, number: int, picture: Picture, finish: _Finish
    ) -> StoredImage:
        came = await self._inspector.inspect(picture.data)
        if min(came.width, came.height) < SHORTEST_SIDE:
            raise NotAnImageError(f"The picture is {came.width}x{came.height} pixels small.")
        data, facts = await self._finished(picture.data, came, finish)
        key = image_key(generation, number, facts.sha256, facts.content_type)
        is_converted = facts.content_type != came.content_type
        return StoredImage(
            number=number,
            key=key,
            sha256=facts.sha256,
            content_type=facts.content_type,
            width=facts.width,
            height=facts.height,
            bytes=len(data),
            provenance=(*facts.provenance, *finish.watermarks),
            converted_from=came.content_type if is_converted else None,
            provenance_lost=tuple(m for m in came.provenance if m not in facts.provenance),
            held=await self._hold(key, data, facts.content_type),
        )

    async def _finished(
        self, data: bytes, came: ImageFacts, finish: _Finish
    ) -> tuple[bytes, ImageFacts]:
        """In the wanted format; what cannot be converted is kept as it came, it is paid for."""
        if finish.format is None or CONTENT_TYPES[finish.format] == came.content_type:
            return data, came
        try:
            converted = await self._editor.converted(data, finish.format, finish.compression)
            return converted, await self._inspector.inspect(converted)
        except NotAnImageError as error:
            log.warning("a picture stays %s: %s", came.content_type, error)
        except Exception:  # it is whole, and paid for
            log.exception("a picture stays %s", came.content_type)
        return data, came

    async def _hold(
        self, key: str, data: bytes, content_type: ContentType
    ) -> Literal["store", "spool"]:
        try:
            await in_time(self._images.put(key, data, content_type))
        except ImageStoreUnavailableError as error:
            log.warning("a picture goes to the spool: %s", error)
            await patiently(lambda: self._spool.put(key, data), what="spool a picture")
            return "spool"
        return "store"

    async def _move_from_spool(self, image: StoredImage) -> bool:
        """Whether it can be read from the image store then, be it that it was moved before."""
        data = await patiently(lambda: self._spool.get(image.key), what="read a spooled picture")
        is_there = await in_time(self._is_there_with(image, data))
        if is_there and data is not None:
            await patiently(lambda: self._spool.remove(image.key), what="empty the spool")
        return is_there

    async def _is_there_with(self, image: StoredImage, data: bytes | None) -> bool:
        if data is not None:
            await self._images.put(image.key, data, image.content_type)
        return await self._images.holds(image.key, sha256=image.sha256)


async def in_time(answer: Awaitable[T]) -> T:
    """What the image store answers, if it does soon. Raises ImageStoreUnavailableError."""
    try:
        async with asyncio.timeout(IMAGE_STORE_SECONDS):
            return await answer
    except TimeoutError as error:
        raise ImageStoreUnavailableError(
            f"The image store did not answer within {IMAGE_STORE_SECONDS:.0f} s."
        ) from error

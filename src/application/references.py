"""Reference images: verified by their content, stored before the command that names them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from application.ports.images import ImageFacts, ImageInspector, ImageStore, NotAnImageError
from domain.image import ReferenceImage, reference_key

Decode = Callable[[str], bytes]
"""From base64 or a data URL to bytes, in any thread. Raises NotAnImageError."""

MOST_AT_ONCE = 64  # each looks at one image at a time, and the threads that do are two

T = TypeVar("T")


class UnusableReferencesError(Exception):
    """Some of the reference images are no images; `reasons` says why, by their index."""

    def __init__(self, reasons: dict[int, str]) -> None:
        self.reasons = reasons
        super().__init__(
            f"{len(reasons)} of the reference images cannot be used. "
            "Send complete PNG, JPEG or WebP images."
        )


class TooManyReferencesError(Exception):
    """Of this many requests one process looks at the reference images already."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The reference images of {most} requests are just being looked at. Send it again in a"
            " moment."
        )


class References:
    """Takes what users send along with a prompt, of at most `most_at_once` requests at a time."""

    def __init__(
        self,
        *,
        images: ImageStore,
        inspector: ImageInspector,
        decode: Decode,
        most_at_once: int = MOST_AT_ONCE,
    ) -> None:
        self._images = images
        self._inspector = inspector
        self._decode = decode
        self._most_at_once = most_at_once
        self._at_once = 0

    async def take(self, user_id: UUID, sent: Sequence[str | bytes]) -> tuple[ReferenceImage, ...]:
        """Decode what is text, verify all of them, then store all of them, under their owner.

        Raises UnusableReferencesError, after which nothing was stored, ImageStoreUnavailableError,
        TooManyReferencesError.
        """
        if not sent:
            return ()
        if self._at_once >= self._most_at_once:
            raise TooManyReferencesError(self._most_at_once)
        self._at_once += 1
        try:
            return await self._take(user_id, sent)
        finally:
            self._at_once -= 1

    async def _take(self, user_id: UUID, sent: Sequence[str | bytes]) -> tuple[ReferenceImage, ...]:
        decoded = await self._decoded(sent)
        found = _without_refusals(await self._inspector.inspect_all(decoded))
        return tuple(
            [
                await self._store(user_id, data, facts)
                for data, facts in zip(decoded, found, strict=True)
            ]
        )

    async def _decoded(self, sent: Sequence[str | bytes]) -> list[bytes]:
        def decode(reference: str | bytes) -> bytes | NotAnImageError:
            try:
                return reference if isinstance(reference, bytes) else self._decode(reference)
            except NotAnImageError as error:
                return error

        return _without_refusals([await asyncio.to_thread(decode, one) for one in sent])

    async def _store(self, user_id: UUID, data: bytes, facts: ImageFacts) -> ReferenceImage:
        key = reference_key(user_id, facts.sha256, facts.content_type)
        await self._images.put(key, data, facts.content_type)
        return ReferenceImage(
            sha256=facts.sha256,
            key=key,
            content_type=facts.content_type,
            width=facts.width,
            height=facts.height,
            bytes=len(data),
        )


def _without_refusals(found: Sequence[T | NotAnImageError]) -> list[T]:
    reasons = {i: str(why) for i, why in enumerate(found) if isinstance(why, NotAnImageError)}
    if reasons:
        raise UnusableReferencesError(reasons)
    return [one for one in found if not isinstance(one, NotAnImageError)]

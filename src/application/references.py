"""Reference images: verified by their content, stored before the command that names them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from application.ports import ImageFacts, ImageInspector, ImageStore, NotAnImageError
from domain.image import ReferenceImage, reference_key


class UnusableReferencesError(Exception):
    """Some of the reference images are no images; `reasons` says why, by their index."""

    def __init__(self, reasons: dict[int, str]) -> None:
        self.reasons = reasons
        super().__init__(
            f"{len(reasons)} of the reference images cannot be used. "
            "Send complete PNG, JPEG or WebP images."
        )


class References:
    """Takes what users send along with a prompt."""

    def __init__(self, *, images: ImageStore, inspector: ImageInspector) -> None:
        self._images = images
        self._inspector = inspector

    async def take(self, user_id: UUID, sent: Sequence[bytes]) -> tuple[ReferenceImage, ...]:
        """Verify all of them, then store all of them, under their owner.

        Raises UnusableReferencesError, after which nothing was stored, ImageStoreUnavailableError.
        """
        found = await asyncio.gather(*(self._look_into(data) for data in sent))
        reasons = {i: str(facts) for i, facts in enumerate(found) if isinstance(facts, Exception)}
        if reasons:
            raise UnusableReferencesError(reasons)
        facts = [one for one in found if isinstance(one, ImageFacts)]
        return tuple([await self._store(user_id, *pair) for pair in zip(sent, facts, strict=True)])

    async def _look_into(self, data: bytes) -> ImageFacts | NotAnImageError:
        try:
            return await self._inspector.inspect(data)
        except NotAnImageError as error:
            return error

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

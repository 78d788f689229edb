"""Pictures of earlier generations, named by whoever they were made for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from application.ports.event_store import EventStore
from domain.generation import Generation
from domain.image import PublishedImage

# A base64 text has no hyphen: what looks like this is no image.
NAMED = re.compile(
    r"(?P<generation>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/(?P<number>[0-9]{1,9}))?",
    re.IGNORECASE,
)


class NotToBeHadError(Exception):
    """There is no such picture for this user; the message says why, and what would do."""


@dataclass(frozen=True)
class EarlierPicture:
    """One picture of a generation, the first where no number is given."""

    generation: UUID
    number: int | None = None

    @classmethod
    def named(cls, sent: str | bytes) -> Self | None:
        """What `{id}` or `{id}/{number}` names, None for anything else."""
        match = NAMED.fullmatch(sent) if isinstance(sent, str) else None
        if match is None:
            return None
        return cls(UUID(match["generation"]), int(match["number"]) if match["number"] else None)

    def __str__(self) -> str:
        """As it is named."""
        return f"{self.generation}" if self.number is None else f"{self.generation}/{self.number}"


class EarlierPictures:
    """Finds them among the generations of a user."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def find(self, user_id: UUID, wanted: EarlierPicture) -> PublishedImage:
        """Raises NotToBeHadError, StoreUnavailableError."""
        generation = await self._store.get(Generation, wanted.generation)
        if generation is None or generation.user_id != user_id:
            raise NotToBeHadError("There is no such generation, or it is not yours.")
        if generation.deleted:
            raise NotToBeHadError("This generation was deleted, and its pictures with it.")
        if not generation.closed:
            raise NotToBeHadError(
                f"This generation is {generation.status}: its pictures can be used once it is"
                " completed."
            )
        published = {image.number: image for image in generation.published}
        if not published:
            raise NotToBeHadError(f"This generation is {generation.status}: it has no picture.")
        number = min(published) if wanted.number is None else wanted.number
        if number not in published:
            there = ", ".join(map(str, published))
            raise NotToBeHadError(f"This generation has no picture {number}; it has {there}.")
        return published[number]

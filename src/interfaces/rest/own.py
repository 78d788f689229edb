"""The generation that a URL names, for its owner alone."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Request

from application.generations import GenerationNotFoundError
from domain.generation import Generation
from interfaces.rest.authentication import Authenticated
from interfaces.rest.context import container_of

CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

InPath = Annotated[
    str,
    Path(
        description="The generation's id.",
        json_schema_extra={"format": "uuid"},
        examples=["0b5c1a52-7d0f-4b0e-9d6f-0a4c54f7a2c1"],
    ),
]


def uuid_in_path(text: str, not_found: Exception) -> UUID:
    """Raises `not_found` for an id that is none."""
    if not CANONICAL_UUID.fullmatch(text):
        raise not_found
    return UUID(text)


async def generation_id(id: InPath) -> UUID:  # noqa: A002  # its name in the URL
    """Raises GenerationNotFoundError, also for an id that is none."""
    return uuid_in_path(id, GenerationNotFoundError())


GenerationId = Annotated[UUID, Depends(generation_id)]


async def own_generation(request: Request, caller: Authenticated, id_: GenerationId) -> Generation:
    """As it is now. Raises GenerationNotFoundError, also for what is somebody else's."""
    return await container_of(request).generations().of(caller.user_id, id_)


OwnGeneration = Annotated[Generation, Depends(own_generation)]

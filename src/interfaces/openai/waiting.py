"""Waiting on behalf of clients that know no 202: to the end."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from starlette.requests import ClientDisconnect

from application.generations import Placed
from application.ports.event_store import StoreUnavailableError, UnknownEventError
from domain.generation import Generation
from infrastructure.container import Container
from interfaces.rest.errors import (
    AcceptedUnreadableError,
    NotFoundError,
    NotWaitedForError,
    ended_without_picture,
)

BEYOND_THE_DEADLINE = 60.0  # seconds, in which whoever ends what is overdue has surely come by


async def pictures_of(
    container: Container, placed: Placed, gone: Coroutine[Any, Any, None]
) -> Generation:
    """The generation, completed.

    Raises EndedWithoutPictureError, NotWaitedForError, AcceptedUnreadableError, NotFoundError when
    its pictures were deleted, and ClientDisconnect when `gone` ends first; the generation goes on.
    """
    seconds = container.settings().deadline_seconds + BEYOND_THE_DEADLINE
    try:
        generation = await container.waiting().for_end(placed, seconds=seconds, gone=gone)
    except (StoreUnavailableError, UnknownEventError) as error:
        raise AcceptedUnreadableError(placed.id) from error
    if generation is None:
        raise ClientDisconnect
    if ended := ended_without_picture(generation):
        raise ended
    if not generation.closed:
        raise NotWaitedForError(placed.id)
    if generation.deleted:
        raise NotFoundError("It was completed, and its pictures were deleted. Ask anew.")
    return generation

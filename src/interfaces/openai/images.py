"""OpenAI's image API over generations: ask, wait to the end, answer with the pictures."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request, Response

from application.access import Caller
from application.generations import Placed
from application.idempotency import NumberedSending
from application.ports.event_store import MOST_SENDINGS, Sending
from domain.generation import Wish
from domain.image import ImageSpec
from infrastructure.container import Container
from interfaces.openai.answers import Form, Operation
from interfaces.openai.bodies import read_edit, read_generation
from interfaces.openai.errors import GENERATION, PREFIX
from interfaces.openai.models import meant
from interfaces.openai.room import PicturesResponse, room_of
from interfaces.openai.shapes import EditRequest, ImageRequest
from interfaces.openai.streaming import PictureStream
from interfaces.openai.waiting import pictures_of
from interfaces.rest.answers import replayed
from interfaces.rest.authentication import Authenticated, confirm
from interfaces.rest.context import client_goes, container_of, key_of
from interfaces.rest.rate_limit import rate_limit

router = APIRouter(prefix=f"{PREFIX}/images", include_in_schema=False)


@router.post("/generations")
async def generations(request: Request, caller: Authenticated) -> Response:
    """Pictures of a prompt."""
    return await _answer(request, caller, "image_generation")


@router.post("/edits")
async def edits(request: Request, caller: Authenticated) -> Response:
    """Pictures made of others."""
    return await _answer(request, caller, "image_edit")


async def _answer(request: Request, caller: Caller, operation: Operation) -> Response:
    placed, form = await _ask(request, caller, operation)
    container = container_of(request)
    headers = {GENERATION: str(placed.id), **replayed(placed.repeated)}
    if form.stream:
        return PictureStream(request, placed, form, headers | _quota(container, placed))
    generation = await pictures_of(container, placed, client_goes(request))
    return PicturesResponse(
        generation,
        form,
        container.pictures(),
        room_of(request),
        headers | _quota(container, placed),
    )


def _quota(container: Container, placed: Placed) -> dict[str, str]:
    return rate_limit(placed.allowances, container.store().now())


async def _ask(request: Request, caller: Caller, operation: Operation) -> tuple[Placed, Form]:
    """What was sent is not kept while its caller waits."""
    container = container_of(request)
    sending = _sending(request, container.store().now())
    key = key_of(request)
    read = read_generation if operation == "image_generation" else read_edit
    asked = await read(request)
    await confirm(request)
    placed = await container.generations().request(
        user_id=caller.user_id,
        api_key_id=caller.api_key_id,
        spec=_spec(container, asked.fields),
        wish=Wish(prompt=asked.fields.prompt),
        references=asked.references,
        mask=asked.mask,
        end_user=asked.fields.end_user,
        idempotency_key=key,
        sending=sending,
    )
    return placed, Form.wanted(operation, asked.fields)


def _spec(container: Container, asked: ImageRequest) -> ImageSpec:
    return ImageSpec(
        model=meant(container, asked.model),
        size=asked.size,
        quality=asked.quality,
        format=asked.output_format,
        count=asked.n or 1,
        background=asked.background,
        compression=asked.output_compression,
        moderation=asked.moderation,
        fidelity=asked.input_fidelity if isinstance(asked, EditRequest) else None,
    )


def _sending(request: Request, arrived_at: datetime) -> NumberedSending | None:
    """Which one it is of those that OpenAI's SDKs make by themselves; other clients do not say."""
    told = request.headers.get("x-stainless-retry-count", "")
    if not (told.isascii() and told.isdigit() and len(told) < len(str(MOST_SENDINGS))):
        return None
    secret = request.headers.get("authorization", "")
    return NumberedSending(Sending(int(told), arrived_at), secret)

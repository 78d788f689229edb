"""Generations over HTTP: ask, act, look back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from application.access import Caller
from application.generations import Changed, Placed
from application.ports.event_store import StoreUnavailableError, UnknownEventError
from domain.generation import Generation, Wish
from domain.image import ImageSpec
from infrastructure.container import Container
from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import json_answer, replayed, resource
from interfaces.rest.authentication import Authenticated, confirm
from interfaces.rest.bodies import Asked, read_generation_request, read_small
from interfaces.rest.context import client_goes, container_of, key_of
from interfaces.rest.errors import AcceptedUnreadableError, ended_without_picture
from interfaces.rest.headers import Patience, patience
from interfaces.rest.openapi import (
    ACCEPTED,
    CHANGED,
    COMMAND,
    CREATED,
    REQUEST_BODY,
    WAITED_FOR,
    problems,
)
from interfaces.rest.own import GenerationId, OwnGeneration
from interfaces.rest.problems import RETRY_AFTER
from interfaces.rest.rate_limit import rate_limit
from interfaces.rest.representation import location, of_generation
from interfaces.rest.shapes import (
    GenerationRequest,
    GenerationShape,
)

router = APIRouter(prefix="/api/v1", tags=["generations"])


PLACING = (
    kinds.NOT_AUTHENTICATED,
    kinds.IDEMPOTENCY_KEY_MALFORMED,
    kinds.IDEMPOTENCY_KEY_REUSED,
    kinds.NO_PROVIDER,
    kinds.QUOTA_EXCEEDED,
    kinds.TOO_MANY_IN_FLIGHT,
    kinds.BUSY,
)
READING = (
    kinds.MALFORMED_BODY,
    kinds.REQUEST_TIMEOUT,
    kinds.BODY_TOO_LARGE,
    kinds.UNSUPPORTED_MEDIA_TYPE,
    kinds.INVALID_REQUEST,
    kinds.UNUSABLE_REFERENCE_IMAGE,
    kinds.DEADLINE_TOO_LONG,
    kinds.WEBHOOKS_OFF,
)
WAITING = (
    kinds.GENERATION_CANCELLED,
    kinds.MODERATION_REFUSED,
    kinds.REQUEST_REFUSED,
    kinds.PROVIDER_FAILED,
    kinds.DEADLINE_PASSED,
)
CHANGING = (
    kinds.NOT_AUTHENTICATED,
    kinds.NOT_FOUND,
    kinds.IDEMPOTENCY_KEY_MALFORMED,
    kinds.IDEMPOTENCY_KEY_REUSED,
    kinds.CONTENDED,
    kinds.BUSY,
)
ENDS_OR_GOES_ON: dict[int | str, dict[str, Any]] = {201: CREATED, 202: ACCEPTED}
GENERATES: dict[str, Any] = {
    "status_code": 201,
    "openapi_extra": REQUEST_BODY,
    "responses": {
        **ENDS_OR_GOES_ON,
        **problems(*PLACING, *READING, *WAITING),
    },
}


@router.post(
    "/generations",
    operation_id="createGeneration",
    summary="Generate pictures",
    **GENERATES,
)
async def create(request: Request, caller: Authenticated) -> Response:
    """Waits for the pictures and answers 201 with their permanent URLs.

    `Prefer: respond-async`, `Prefer: wait=n` or a longer work answers 202 with `Location`.
    """
    key, prefer = key_of(request), _patience(request)
    # What was sent is not kept while its caller waits.
    placed = await _place(container_of(request), caller, await _asked(request), key)
    return await _wait_for(request, placed, prefer)


@router.get(
    "/generations/{id}",
    operation_id="getGeneration",
    summary="Get a generation",
    responses={
        200: {"model": GenerationShape},
        **problems(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.BUSY),
    },
)
async def show(request: Request, generation: OwnGeneration) -> Response:
    """As it is now, from whichever process answers."""
    return resource(request, of_generation(generation))


@router.post(
    "/generations/{id}/cancel",
    operation_id="cancelGeneration",
    summary="Cancel a generation",
    openapi_extra=COMMAND,
    responses={200: CHANGED, **problems(*CHANGING, kinds.GENERATION_CLOSED)},
)
async def cancel(request: Request, caller: Authenticated, id_: GenerationId) -> Response:
    """What is queued never starts and costs nothing. A call under way is abandoned.

    Its cost is recorded when the provider answers, and its pictures count; units of those that no
    provider was asked for go back.
    """
    changed = await (
        container_of(request)
        .generations()
        .cancel(user_id=caller.user_id, id=id_, idempotency_key=key_of(request))
    )
    return _changed(changed)


@router.post(
    "/generations/{id}/retry",
    operation_id="retryGeneration",
    summary="Retry a generation",
    status_code=201,
    openapi_extra=WAITED_FOR,
    responses={
        **ENDS_OR_GOES_ON,
        **problems(
            *PLACING,
            *WAITING,
            kinds.NOT_FOUND,
            kinds.GENERATION_OPEN,
            kinds.REQUEST_TIMEOUT,
            kinds.BODY_TOO_LARGE,
        ),
    },
)
async def retry(request: Request, caller: Authenticated, id_: GenerationId) -> Response:
    """A new generation whose `retryOf` is this one, which has to be in a final state.

    It is waited for and answered as `createGeneration` is.
    """
    prefer = _patience(request)
    await read_small(request)  # whoever sends too much, or too slowly, hears of it first
    placed = await (
        container_of(request)
        .generations()
        .retry(
            user_id=caller.user_id,
            id=id_,
            api_key_id=caller.api_key_id,
            idempotency_key=key_of(request),
        )
    )
    return await _wait_for(request, placed, prefer)


@router.delete(
    "/generations/{id}",
    operation_id="deleteGeneration",
    summary="Delete a generation's pictures",
    openapi_extra=COMMAND,
    responses={200: CHANGED, **problems(*CHANGING, kinds.GENERATION_OPEN)},
)
async def delete(request: Request, caller: Authenticated, id_: GenerationId) -> Response:
    """They leave the image store for ever; the record of the generation stays."""
    changed = await (
        container_of(request)
        .generations()
        .delete(user_id=caller.user_id, id=id_, idempotency_key=key_of(request))
    )
    return _changed(changed)


router.add_api_route(
    "/generate-image",
    create,
    methods=["POST"],
    operation_id="generateImage",
    summary="Generate pictures (alias)",
    **GENERATES,
)


# --- asking --------------------------------------------------------------------------------------


def _patience(request: Request) -> Patience:
    longest = container_of(request).settings().wait_seconds
    return patience(request.headers.getlist("prefer"), longest=longest)


async def _asked(request: Request) -> Asked:
    asked = await read_generation_request(request)
    await confirm(request)  # a large body takes its time
    return asked


async def _place(container: Container, caller: Caller, asked: Asked, key: str | None) -> Placed:
    fields = asked.fields
    if fields.webhook_url is not None:
        container.webhook_changes().refuse_address(fields.webhook_url)
    seconds = fields.deadline_seconds
    return await container.generations().request(
        user_id=caller.user_id,
        api_key_id=caller.api_key_id,
        spec=_spec(fields),
        wish=_wish(fields),
        references=asked.references,
        mask=asked.mask,
        on_unknown=fields.on_unknown,
        on_refusal=fields.on_refusal,
        deadline=None if seconds is None else timedelta(seconds=seconds),
        end_user=fields.end_user,
        idempotency_key=key,
    )


async def _wait_for(request: Request, placed: Placed, prefer: Patience) -> Response:
    try:
        generation = (
            await container_of(request)
            .waiting()
            .for_end(placed, seconds=prefer.seconds, gone=client_goes(request))
        )
    except (StoreUnavailableError, UnknownEventError) as error:
        raise AcceptedUnreadableError(placed.id) from error
    if generation is None:
        raise ClientDisconnect
    quota = rate_limit(placed.allowances, container_of(request).store().now())
    return _answer(generation, placed, prefer, quota)


def _spec(asked: GenerationRequest) -> ImageSpec:
    return ImageSpec(**{name: getattr(asked, name) for name in ImageSpec.model_fields})


def _wish(asked: GenerationRequest) -> Wish:
    return Wish(
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        metadata=asked.metadata,
        webhook_url=asked.webhook_url,
    )


# --- answering -----------------------------------------------------------------------------------


def _answer(
    generation: Generation, placed: Placed, prefer: Patience, quota: Mapping[str, str]
) -> Response:
    """What is left of the quota is not told of pictures that failed: their units went back."""
    headers = {"Vary": "Prefer", **replayed(placed.repeated)}
    if applied := prefer.applied(ended=generation.closed):
        headers["Preference-Applied"] = applied
    if error := ended_without_picture(generation):
        error.headers = headers
        raise error
    headers |= {"Location": location(generation.id), **quota}
    if not generation.closed:
        headers["Retry-After"] = f"{RETRY_AFTER}"
    return json_answer(of_generation(generation), 201 if generation.closed else 202, headers)


def _changed(changed: Changed) -> Response:
    return json_answer(of_generation(changed.generation), headers=replayed(changed.repeated))

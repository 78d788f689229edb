"""Deliveries over HTTP: what came of each, by its webhook or by its generation; and once more."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from application.webhooks import DeliveryNotFoundError
from domain.delivery import Delivery
from domain.retries import SENTENCES, Problem
from infrastructure.read_models.webhook_deliveries import DeliveryRow
from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import json_answer, replayed, resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.context import container_of, key_of
from interfaces.rest.openapi import COMMAND, problems
from interfaces.rest.own import OwnGeneration, uuid_in_path
from interfaces.rest.pages import Page, link_to_next, page_of
from interfaces.rest.webhook_shapes import (
    DeliveryErrorShape,
    DeliveryList,
    DeliveryShape,
    GenerationDeliveries,
)
from interfaces.rest.webhooks import COMMANDING, DONE, OF_ONE, WebhookId

router = APIRouter(prefix="/api/v1", tags=["webhooks"])

SENDING = (*COMMANDING, kinds.NOT_FOUND, kinds.WEBHOOKS_OFF, kinds.WEBHOOK_DISABLED)

InPath = Annotated[
    str,
    Path(
        alias="deliveryId",
        description="The delivery's id.",
        json_schema_extra={"format": "uuid"},
        examples=["8a6e0804-2bd0-5672-b79d-d97027f9071a"],
    ),
]


async def _delivery_id(id_: InPath) -> UUID:
    """Raises DeliveryNotFoundError, also for an id that is none."""
    return uuid_in_path(id_, DeliveryNotFoundError())


DeliveryId = Annotated[UUID, Depends(_delivery_id)]


@router.post(
    "/webhooks/{id}/test",
    operation_id="testWebhook",
    summary="Send a test",
    openapi_extra=COMMAND,
    responses={200: {"model": DeliveryShape, **DONE}, **problems(*SENDING)},
)
async def send_test(request: Request, caller: Authenticated, id_: WebhookId) -> Response:
    """A message of the type `webhook.test`, tried once; its deliveries tell what came of it."""
    changes = container_of(request).webhook_changes()
    done = await changes.test(caller.user_id, id_, idempotency_key=key_of(request))
    return json_answer(_of_delivery(done.result), headers=replayed(done.repeated))


@router.get(
    "/webhooks/{id}/deliveries",
    operation_id="listDeliveries",
    summary="List a webhook's deliveries",
    responses={
        200: {"model": DeliveryList},
        **problems(*OF_ONE, kinds.CURSOR_REFUSED, kinds.INVALID_REQUEST),
    },
)
async def deliveries(
    request: Request,
    caller: Authenticated,
    id_: WebhookId,
    page: Page,
) -> Response:
    """The newest first. A new one may be missing from the list for a moment."""
    container = container_of(request)
    await container.webhook_changes().endpoint(caller.user_id, id_)
    look = partial(container.deliveries_page, user_id=caller.user_id, endpoint=id_)
    rows, cursor = await page_of(request, page, look)
    shape = DeliveryList(items=tuple(map(_of_row, rows)), next_cursor=cursor)
    return resource(request, shape, link_to_next(request, limit=page.limit, cursor=cursor))


@router.post(
    "/webhooks/{id}/deliveries/{deliveryId}/resend",
    operation_id="resendDelivery",
    summary="Send a delivery again",
    openapi_extra=COMMAND,
    responses={
        200: {"model": DeliveryShape, **DONE},
        **problems(*SENDING, kinds.TOO_MANY_RESENDS),
    },
)
async def resend(
    request: Request, caller: Authenticated, id_: WebhookId, delivery: DeliveryId
) -> Response:
    """At once, under the same `webhook-id`, whatever came of it before, with all its tries anew."""
    changes = container_of(request).webhook_changes()
    done = await changes.resend(caller.user_id, id_, delivery, idempotency_key=key_of(request))
    return json_answer(_of_delivery(done.result), headers=replayed(done.repeated))


@router.get(
    "/generations/{id}/deliveries",
    operation_id="listGenerationDeliveries",
    summary="List who is told of a generation",
    responses={200: {"model": GenerationDeliveries}, **problems(*OF_ONE)},
)
async def of_generation(
    request: Request, caller: Authenticated, generation: OwnGeneration
) -> Response:
    """Your webhooks and its own `webhookUrl`, once it has ended; a moment later, as lists are."""
    rows = await container_of(request).deliveries_of_generation(
        user_id=caller.user_id, generation=generation.id
    )
    return resource(request, GenerationDeliveries(items=tuple(map(_of_row, rows))))


@router.post(
    "/generations/{id}/deliveries/{deliveryId}/resend",
    operation_id="resendGenerationDelivery",
    summary="Send a generation's delivery again",
    openapi_extra=COMMAND,
    responses={
        200: {"model": DeliveryShape, **DONE},
        **problems(*SENDING, kinds.TOO_MANY_RESENDS),
    },
)
async def resend_of_generation(
    request: Request, caller: Authenticated, generation: OwnGeneration, delivery: DeliveryId
) -> Response:
    """To a webhook of yours or to the request's own `webhookUrl`, as any other."""
    changes = container_of(request).webhook_changes()
    done = await changes.resend_of(
        caller.user_id, generation.id, delivery, idempotency_key=key_of(request)
    )
    return json_answer(_of_delivery(done.result), headers=replayed(done.repeated))


# --- answering -----------------------------------------------------------------------------------


def _of_row(row: DeliveryRow) -> DeliveryShape:
    return DeliveryShape(
        id=row.id,
        webhook_id=row.endpoint_id,
        event_type=row.event_type,
        generation_id=row.generation_id,
        status=row.status,
        attempts=row.attempts,
        last_status=row.last_status,
        error=_error(row.last_error),
        next_attempt_at=row.next_attempt_at,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def _of_delivery(delivery: Delivery) -> DeliveryShape:
    return DeliveryShape(
        id=delivery.id,
        webhook_id=delivery.endpoint,
        event_type=delivery.type,
        generation_id=delivery.generation,
        status=delivery.status,
        attempts=delivery.attempts,
        last_status=delivery.last_status,
        error=_error(delivery.problem),
        next_attempt_at=delivery.next_try_at,
        created_at=delivery.created_on,
        ended_at=delivery.ended_at,
    )


def _error(problem: Problem | None) -> DeliveryErrorShape | None:
    return DeliveryErrorShape(kind=problem, message=SENTENCES[problem]) if problem else None

"""Webhooks over HTTP: where you are told of what, and with which secret."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from application.webhooks import EndpointWish
from domain.webhook import Endpoint, EndpointNotFoundError, Secret
from infrastructure.container import Container
from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import json_answer, replayed, resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.bodies import read_json
from interfaces.rest.context import container_of, key_of
from interfaces.rest.openapi import COMMAND, REPLAYED, json_body, problems
from interfaces.rest.own import uuid_in_path
from interfaces.rest.webhook_shapes import (
    SecretWebhookShape,
    WebhookChange,
    WebhookLinksShape,
    WebhookList,
    WebhookRequest,
    WebhookSecretShape,
    WebhookShape,
)

router = APIRouter(prefix="/api/v1", tags=["webhooks"])
WEBHOOKS = "/api/v1/webhooks"

READING = (kinds.NOT_AUTHENTICATED, kinds.BUSY)
OF_ONE = (*READING, kinds.NOT_FOUND)
COMMANDING = (
    *READING,
    *(kinds.IDEMPOTENCY_KEY_MALFORMED, kinds.IDEMPOTENCY_KEY_REUSED, kinds.CONTENDED),
)
WITH_BODY = (
    *(kinds.MALFORMED_BODY, kinds.REQUEST_TIMEOUT, kinds.BODY_TOO_LARGE),
    *(kinds.UNSUPPORTED_MEDIA_TYPE, kinds.INVALID_REQUEST),
)
CHANGING = (*COMMANDING, kinds.TOO_MANY_WEBHOOK_CHANGES)
DONE = {"description": "It is as you wanted it", "headers": REPLAYED}


InPath = Annotated[
    str,
    Path(
        alias="id",
        description="The webhook's id.",
        json_schema_extra={"format": "uuid"},
        examples=["6f0f4c1e-55d0-4d0c-8f3b-3b0d5f0c7a11"],
    ),
]


async def _webhook_id(id_: InPath) -> UUID:
    """Raises EndpointNotFoundError, also for an id that is none."""
    return uuid_in_path(id_, EndpointNotFoundError())


WebhookId = Annotated[UUID, Depends(_webhook_id)]


@router.post(
    "/webhooks",
    operation_id="createWebhook",
    summary="Be told of what ends",
    status_code=201,
    openapi_extra=COMMAND | json_body(WebhookRequest),
    responses={
        201: {"model": SecretWebhookShape, "description": "You will be", "headers": REPLAYED},
        **problems(
            *(*CHANGING, *WITH_BODY),
            *(kinds.NOT_FOUND, kinds.TOO_MANY_WEBHOOKS, kinds.WEBHOOKS_OFF),
        ),
    },
)
async def create(request: Request, caller: Authenticated) -> Response:
    """By Standard Webhooks 1.0.0, from now on. The secret is shown this once: keep it."""
    key, asked = key_of(request), await read_json(request, WebhookRequest)
    container = container_of(request)
    done = await container.webhook_changes().register(
        caller.user_id, url=asked.url, events=asked.events, idempotency_key=key
    )
    shape = _with_secret(container, done.result)
    headers = {"Location": shape.links.self, **replayed(done.repeated)}
    return json_answer(shape, 201, headers)


@router.get(
    "/webhooks",
    operation_id="listWebhooks",
    summary="List your webhooks",
    responses={200: {"model": WebhookList}, **problems(*READING)},
)
async def index(request: Request, caller: Authenticated) -> Response:
    """All of them, as they are now, without their secrets."""
    webhooks = await container_of(request).webhook_changes().of(caller.user_id)
    shape = WebhookList(items=tuple(map(_shape, webhooks.endpoints.values())))
    return resource(request, shape)


@router.get(
    "/webhooks/{id}",
    operation_id="getWebhook",
    summary="Get a webhook",
    responses={200: {"model": WebhookShape}, **problems(*OF_ONE)},
)
async def show(request: Request, caller: Authenticated, id_: WebhookId) -> Response:
    """As it is now, without its secret."""
    endpoint = await container_of(request).webhook_changes().endpoint(caller.user_id, id_)
    return resource(request, _shape(endpoint))


@router.patch(
    "/webhooks/{id}",
    operation_id="changeWebhook",
    summary="Change, enable or disable a webhook",
    openapi_extra=COMMAND | json_body(WebhookChange),
    responses={
        200: {"model": WebhookShape, **DONE},
        **problems(*CHANGING, *WITH_BODY, kinds.NOT_FOUND),
    },
)
async def change(request: Request, caller: Authenticated, id_: WebhookId) -> Response:
    """What happens while it is disabled it is never told of.

    What it was to be told of before waits: tries made meanwhile fail as `endpoint_disabled`, and
    once it is enabled it gets the rest of them. What was given up can be sent by hand.
    """
    key, asked = key_of(request), await read_json(request, WebhookChange)
    wish = EndpointWish(
        url=asked.url,
        events=None if asked.events is None else tuple(asked.events),
        enabled=asked.enabled,
    )
    changes = container_of(request).webhook_changes()
    done = await changes.change(caller.user_id, id_, wish, idempotency_key=key)
    return json_answer(_shape(done.result), headers=replayed(done.repeated))


@router.delete(
    "/webhooks/{id}",
    operation_id="deleteWebhook",
    summary="Remove a webhook",
    status_code=204,
    openapi_extra=COMMAND,
    responses={
        204: {"description": "It is removed", "headers": REPLAYED},
        **problems(*COMMANDING, kinds.NOT_FOUND),
    },
)
async def remove(request: Request, caller: Authenticated, id_: WebhookId) -> Response:
    """What it was to be told of yet is given up, and its secret is good for nothing."""
    changes = container_of(request).webhook_changes()
    done = await changes.remove(caller.user_id, id_, idempotency_key=key_of(request))
    return Response(status_code=204, headers=replayed(done.repeated))


@router.post(
    "/webhooks/{id}/rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Make a new secret",
    openapi_extra=COMMAND,
    responses={
        200: {"model": SecretWebhookShape, **DONE},
        **problems(*CHANGING, kinds.NOT_FOUND, kinds.WEBHOOKS_OFF),
    },
)
async def rotate(request: Request, caller: Authenticated, id_: WebhookId) -> Response:
    """The new one is shown this once. For 24 hours deliveries are signed with the old one too."""
    container = container_of(request)
    done = await container.webhook_changes().rotate_secret(
        caller.user_id, id_, idempotency_key=key_of(request)
    )
    shape = _with_secret(container, done.result.endpoint(id_))
    return json_answer(shape, headers=replayed(done.repeated))


@router.get(
    "/me/webhook-secret",
    operation_id="getWebhookSecret",
    summary="The secret of webhookUrl",
    responses={200: {"model": WebhookSecretShape}, **problems(*READING, kinds.WEBHOOKS_OFF)},
)
async def own_secret(request: Request, caller: Authenticated) -> Response:
    """What signs deliveries to the addresses that your requests name themselves."""
    container = container_of(request)
    webhooks = await container.webhook_changes().of(caller.user_id)
    return resource(request, _own(container, caller.user_id, webhooks.secret))


@router.post(
    "/me/webhook-secret/rotate",
    operation_id="rotateOwnWebhookSecret",
    summary="Make a new secret of webhookUrl",
    openapi_extra=COMMAND,
    responses={
        200: {"model": WebhookSecretShape, **DONE},
        **problems(*CHANGING, kinds.WEBHOOKS_OFF),
    },
)
async def rotate_own(request: Request, caller: Authenticated) -> Response:
    """For 24 hours deliveries are signed with the old one too."""
    container = container_of(request)
    done = await container.webhook_changes().rotate_secret(
        caller.user_id, None, idempotency_key=key_of(request)
    )
    shape = _own(container, caller.user_id, done.result.secret)
    return json_answer(shape, headers=replayed(done.repeated))


# --- answering -----------------------------------------------------------------------------------


def _shape(endpoint: Endpoint) -> WebhookShape:
    location = f"{WEBHOOKS}/{endpoint.id}"
    return WebhookShape(
        id=endpoint.id,
        url=endpoint.url,
        events=endpoint.events,
        enabled=endpoint.disabled is None,
        disabled_why=endpoint.disabled,
        created_at=endpoint.registered_at,
        old_secret_until=endpoint.secret.old_until,
        links=WebhookLinksShape(self=location, deliveries=f"{location}/deliveries"),
    )


def _with_secret(container: Container, endpoint: Endpoint) -> SecretWebhookShape:
    secret = container.webhook_changes().secret_of(endpoint.id, endpoint.secret)
    return SecretWebhookShape(**dict(_shape(endpoint)), secret=secret)


def _own(container: Container, user_id: UUID, secret: Secret) -> WebhookSecretShape:
    return WebhookSecretShape(
        secret=container.webhook_changes().secret_of(user_id, secret),
        old_secret_until=secret.old_until,
    )

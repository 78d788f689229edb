"""What a request carries with it: the container, its id, its caller, its Idempotency-Key."""

from __future__ import annotations

from typing import cast

from fastapi import Request
from starlette.types import Scope

from application.access import Caller
from infrastructure.container import Container
from interfaces.rest.headers import idempotency_key


def container_of(request: Request) -> Container:
    """The composition root, as `create_app` was given it."""
    return cast(Container, request.app.state.container)


def request_id(scope: Scope) -> str:
    """The correlation id: the client's own, or one made here."""
    return cast(str, scope["state"]["request_id"])


def key_of(request: Request) -> str | None:
    """The command's Idempotency-Key. Raises MalformedIdempotencyKeyError."""
    return idempotency_key(request.headers.getlist("idempotency-key"))


def address_of(request: Request) -> str | None:
    """The client's, as far as the server knows."""
    return request.client.host if request.client else None


def caller_of(request: Request) -> Caller:
    """Who asks, on a route that wants to know. Raises why that is not known."""
    caller = request.scope["state"]["caller"]
    if isinstance(caller, Exception):
        raise caller
    return cast(Caller, caller)


async def client_goes(request: Request) -> None:
    """What comes when the body is read, or of no interest, is that the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass

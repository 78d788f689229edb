"""What a request carries with it: the container, its id, its caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from uuid import UUID

from fastapi import Request
from starlette.types import Scope

from infrastructure.container import Container


@dataclass(frozen=True)
class Caller:
    """Who asks, by which key, as what."""

    user_id: UUID
    api_key_id: str
    role: str


def container_of(request: Request) -> Container:
    """The composition root, as `create_app` was given it."""
    return cast(Container, request.app.state.container)


def request_id(scope: Scope) -> str:
    """The correlation id: the client's own, or one made here."""
    return cast(str, scope["state"]["request_id"])


async def client_goes(request: Request) -> None:
    """What comes when the body is read, or of no interest, is that the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""The REST API as one ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from application.ports.event_store import StoreUnavailableError
from application.tasks import end
from infrastructure.container import Container
from interfaces.openai import images as openai_images
from interfaces.openai import models as openai_models
from interfaces.openai.errors import is_for_openai, openai_error
from interfaces.openai.room import Room
from interfaces.rest import (
    deliveries,
    docs,
    events,
    generations,
    history,
    images,
    jobs,
    keys,
    me,
    operate,
    people,
    problem_pages,
    providers,
    sessions,
    webhooks,
)
from interfaces.rest.access import admitted, refuse_gaps
from interfaces.rest.authentication import Authentication, session_cookie
from interfaces.rest.carried import Carrying
from interfaces.rest.document import document_of
from interfaces.rest.middleware import STALLED_AFTER, BodyLimit, Requests
from interfaces.rest.problems import PROBLEMS, problem
from interfaces.rest.security import for_pages_of, security_headers
from interfaces.web import account, login
from interfaces.web.answers import is_about_logins, login_error

log = logging.getLogger(__name__)

MODULES = (
    *(generations, history, events, jobs, images, providers, me, keys, people),
    *(webhooks, deliveries),
    *(sessions, login, account),
    *(problem_pages, operate, docs),
    *(openai_images, openai_models),
)
MOST_BODY_BYTES = 32 * 1024 * 1024
TRY_AGAIN_SECONDS = 0.25


def create_app(container: Container, *, stalled_after: float = STALLED_AFTER) -> FastAPI:
    """Everything that is served, over this container.

    A body of which nothing more comes for `stalled_after` seconds is given up.
    """
    app = FastAPI(
        title="Darkroom",
        version="0.1.0",
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(admitted)],
    )
    app.state.container = container
    app.state.carrying = Carrying()
    app.state.room = Room()
    app.state.authentication = Authentication(
        container.guarded_access, cookie=session_cookie(container.settings().public_url)
    )
    app.add_exception_handler(HTTPException, _error)
    for error in PROBLEMS:
        app.add_exception_handler(error, _error)
    for module in MODULES:
        app.include_router(module.router)
        app.include_router(_heads(module.router))
    refuse_gaps(app.routes)
    settings = container.settings()
    app.add_middleware(BodyLimit, most=MOST_BODY_BYTES, stalled_after=stalled_after)
    app.add_middleware(
        Requests,
        answer=_error,
        headers=security_headers(settings.public_url),
        around=for_pages_of(settings.cors_origins),
    )
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


async def _error(request: Request, error: Exception) -> Response:
    """In the shape that whoever asks for this path expects."""
    path = request.scope["path"]
    if is_for_openai(path):
        return await openai_error(request, error)
    return await (login_error if is_about_logins(path) else problem)(request, error)


def _heads(router: APIRouter) -> APIRouter:
    """What answers GET answers HEAD, as Starlette's own routes do and FastAPI's do not."""
    heads = APIRouter()
    for route in router.routes:
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            heads.add_api_route(
                route.path, route.endpoint, methods=["HEAD"], include_in_schema=False
            )
    return heads


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = document_of(app)
    return app.openapi_schema


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    container: Container = app.state.container
    nobody = Context()  # what goes on in the background belongs to no request
    container.identity_provider()  # importing what it stands on would hold up the first login
    await asyncio.create_task(container.news().open(), context=nobody)
    opening = asyncio.create_task(_open_and_follow(container), context=nobody)
    try:
        yield
    finally:
        container.waiting().stop()
        container.following().stop()
        await end(opening)
        await container.last_uses().note()
        await container.news().close()
        await container.gate().close()
        await container.counters().close()
        await container.close_providers()
        await container.close_identity_provider()
        await container.queue().close()
        await container.image_store().close()
        await container.store().close()


async def _open_and_follow(container: Container) -> None:
    await _open(container)
    keeping = asyncio.create_task(container.access().keep())
    try:
        await container.switches().follow(container.news())
    finally:
        await end(keeping)


async def _open(container: Container) -> None:
    """Connect and register the administrator, however long the database keeps us waiting."""
    while True:
        try:
            await container.store().open()
            if await container.readiness().schema_is_current():
                await container.accounts().register_administrator()
                return
        except StoreUnavailableError as error:
            log.warning("the database does not answer yet: %s", error)
        await asyncio.sleep(TRY_AGAIN_SECONDS)

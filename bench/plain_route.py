"""The route to compare with: it authenticates and validates as ours does, and records nothing."""

from __future__ import annotations

import uvloop
from fastapi import Depends, FastAPI, Request, Response

from infrastructure.container import Container
from infrastructure.logging import configure_logging
from infrastructure.settings import Settings, load_settings
from interfaces.rest.app import MOST_BODY_BYTES
from interfaces.rest.authentication import SESSION, Authenticated, Authentication, recognise
from interfaces.rest.bodies import read_generation_request
from interfaces.rest.headers import idempotency_key, patience
from interfaces.rest.middleware import BodyLimit, Requests
from interfaces.rest.serve import server_of


def create_plain_app(settings: Settings) -> FastAPI:
    """`POST /api/v1/generations` behind the service's own middleware, authentication and shape."""
    app = FastAPI(dependencies=[Depends(recognise)])
    app.add_api_route("/api/v1/generations", create, methods=["POST"], status_code=202)
    app.add_middleware(BodyLimit, most=MOST_BODY_BYTES)
    app.state.container = container = Container(settings=settings)
    app.state.authentication = Authentication(container.guarded_access, cookie=SESSION)
    app.add_middleware(Requests)
    return app


async def create(request: Request, caller: Authenticated) -> Response:  # noqa: ARG001  # checked
    """Understand all of the request, and answer at once."""
    idempotency_key(request.headers.getlist("idempotency-key"))
    patience(request.headers.getlist("prefer"), longest=0)
    await read_generation_request(request)
    return Response(status_code=202, media_type="application/json")


def _main() -> None:
    settings = load_settings()
    configure_logging(settings.log_format)
    uvloop.run(server_of(create_plain_app(settings), port=settings.port).serve())


if __name__ == "__main__":
    _main()

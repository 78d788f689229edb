"""For those who run it: is it alive, is it ready."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from interfaces.rest.context import container_of
from interfaces.rest.openapi import PUBLIC, problems
from interfaces.rest.shapes import Shape

router = APIRouter(tags=["operate"])


class AliveShape(Shape):
    status: Literal["alive"]


class ReadyShape(Shape):
    """`reasons` say what is wrong and what to do; of each check its state and what was seen."""

    status: Literal["ready", "degraded", "not ready"]
    reasons: tuple[str, ...]
    checks: dict[str, dict[str, Any]]


@router.get(
    "/livez",
    operation_id="isAlive",
    summary="Whether this process answers",
    openapi_extra=PUBLIC,
    responses={200: {"model": AliveShape}, **problems()},
)
async def alive() -> Response:
    """Looks at nothing else: a restart would not mend a database."""
    return _json({"status": "alive"})


@router.get(
    "/readyz",
    operation_id="isReady",
    summary="Whether requests can be served",
    openapi_extra=PUBLIC,
    responses={
        200: {"model": ReadyShape, "description": "Ready, or degraded"},
        503: {"model": ReadyShape, "description": "Not ready; `reasons` say why"},
        **problems(),
    },
)
async def ready(request: Request) -> Response:
    """`degraded` still serves; each check says what is wrong and what to do."""
    checks = await container_of(request).readiness().check()
    states = {check.state for check in checks.values()}
    status = "not ready" if "failing" in states else "degraded" if "degraded" in states else "ready"
    reasons = list(dict.fromkeys(check.reason for check in checks.values() if check.reason))
    told = {
        "status": status,
        "reasons": reasons,
        "checks": {name: {"state": check.state, **check.facts} for name, check in checks.items()},
    }
    return _json(told, 503 if status == "not ready" else 200)


def _json(body: object, status: int = 200) -> Response:
    return Response(
        to_json(body), status, {"Cache-Control": "no-store"}, media_type="application/json"
    )

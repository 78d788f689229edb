"""What concerns the caller alone."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.context import container_of
from interfaces.rest.openapi import problems
from interfaces.rest.shapes import QuotaShape, QuotaWindowShape

router = APIRouter(prefix="/api/v1/me", tags=["me"])


@router.get(
    "/quota",
    operation_id="getQuota",
    summary="What you have used, and when it resets",
    responses={
        200: {"model": QuotaShape},
        **problems(kinds.NOT_AUTHENTICATED, kinds.BUSY),
    },
)
async def quota(request: Request, caller: Authenticated) -> Response:
    """A picture is a unit; windows are days and months in UTC."""
    container = container_of(request)
    rows = await container.quota().of(caller.user_id, container.store().now())
    shape = QuotaShape(windows=tuple(QuotaWindowShape(**asdict(row)) for row in rows))
    return resource(request, shape)

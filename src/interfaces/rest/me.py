"""What concerns the caller alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from domain.user import end_user_id
from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.context import container_of
from interfaces.rest.fields import EndUser
from interfaces.rest.openapi import problems
from interfaces.rest.shapes import QuotaShape, QuotaWindowShape

router = APIRouter(prefix="/api/v1/me", tags=["me"])


@router.get(
    "/quota",
    operation_id="getQuota",
    summary="What you have used, and when it resets",
    responses={
        200: {"model": QuotaShape},
        **problems(kinds.NOT_AUTHENTICATED, kinds.INVALID_REQUEST, kinds.BUSY),
    },
)
async def quota(
    request: Request,
    caller: Authenticated,
    end_user: Annotated[
        EndUser | None,
        Query(alias="endUser", description="One of your users: what they have used comes too."),
    ] = None,
) -> Response:
    """A picture is a unit; windows are days and months in UTC."""
    container = container_of(request)
    rows = await container.quota().of(
        caller.user_id,
        container.store().now(),
        end_user_id=None if end_user is None else end_user_id(caller.user_id, end_user),
    )
    shape = QuotaShape(windows=tuple(QuotaWindowShape(**asdict(row)) for row in rows))
    return resource(request, shape)

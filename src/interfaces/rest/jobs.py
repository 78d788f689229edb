"""How far a generation is."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import resource
from interfaces.rest.context import container_of
from interfaces.rest.openapi import problems
from interfaces.rest.own import OwnGeneration
from interfaces.rest.representation import of_job
from interfaces.rest.shapes import JobShape

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])


@router.get(
    "/{id}",
    operation_id="getJob",
    summary="Get a generation's progress",
    responses={
        200: {"model": JobShape},
        **problems(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.BUSY),
    },
)
async def job(request: Request, generation: OwnGeneration) -> Response:
    """The job's id is the generation's. While it is queued, `queue` says where and why."""
    queued = generation.status == "queued"
    place = await container_of(request).places().of(generation) if queued else None
    return resource(request, of_job(generation, place))

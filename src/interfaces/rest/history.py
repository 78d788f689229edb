"""Looking back: lists of generations, filtered, in pages."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, ConfigDict, Field
from pydantic.alias_generators import to_camel

from domain.generation import Status
from domain.user import end_user_id
from infrastructure.read_models.image_generations import HistoryFilter
from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.context import container_of
from interfaces.rest.fields import EndUser, Name, Text
from interfaces.rest.openapi import problems
from interfaces.rest.pages import PageQuery, link_to_next, page_of
from interfaces.rest.representation import of_row
from interfaces.rest.shapes import GenerationList
from interfaces.rest.times import rfc_3339

router = APIRouter(prefix="/api/v1", tags=["generations"])


Time = Annotated[AwareDatetime, rfc_3339]


class HistoryQuery(PageQuery):
    """What a list can be asked for; an unknown parameter is an error, not a filter that is not."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    status: list[Status] = Field([], max_length=5, description="One or several of these.")
    provider: Name | None = Field(None, description="The provider that was used.")
    model: Name | None = Field(None, description="The model that was used.")
    end_user: EndUser | None = Field(None, description="Whom of your users it is for.")
    created_after: Time | None = Field(None, description="At this time or later.")
    created_before: Time | None = Field(None, description="Before this time.")
    q: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description='Words of the prompt: all of them, "in this order", -without.'
    )

    def filter(self, user_id: UUID) -> HistoryFilter:
        """As the read model takes it, for generations of this user's."""
        return HistoryFilter(
            statuses=tuple(self.status),
            provider=self.provider,
            model=self.model,
            end_user_id=None if self.end_user is None else end_user_id(user_id, self.end_user),
            created_from=self.created_after,
            created_before=self.created_before,
            words=self.q,
        )


@router.get(
    "/generations",
    operation_id="listGenerations",
    summary="List your generations",
    responses={
        200: {"model": GenerationList},
        **problems(
            kinds.NOT_AUTHENTICATED, kinds.CURSOR_REFUSED, kinds.INVALID_REQUEST, kinds.BUSY
        ),
    },
)
async def history(
    request: Request, caller: Authenticated, query: Annotated[HistoryQuery, Query()]
) -> Response:
    """The newest first. A new one may be missing from the list for a moment, never by its id."""
    look = partial(
        container_of(request).history_page,
        user_id=caller.user_id,
        wanted=query.filter(caller.user_id),
    )
    rows, cursor = await page_of(request, query, look)
    shape = GenerationList(items=tuple(map(of_row, rows)), next_cursor=cursor)
    return resource(request, shape, link_to_next(request, limit=query.limit, cursor=cursor))

"""Pages of lists: cursors in the body, and as links (RFC 8288)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field


class PageQuery(BaseModel):
    """Which page of a list; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="How many at most.")
    cursor: str | None = Field(None, description="`nextCursor` of the page before.")


Page = Annotated[PageQuery, Query()]


def link_to_next(request: Request, **changed: object) -> dict[str, str]:
    """The header that leads to the next page, the same filters kept; nothing after the last one."""
    if None in changed.values():
        return {}
    kept = [pair for pair in request.query_params.multi_items() if pair[0] not in changed]
    query = urlencode([*kept, *changed.items()])
    return {"Link": f'<{request.url.path}?{query}>; rel="next"'}

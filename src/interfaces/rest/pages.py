"""Pages of lists: cursors in the body, and as links (RFC 8288)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol, TypeVar
from urllib.parse import urlencode

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field

from interfaces.rest import cursors
from interfaces.rest.context import container_of


class PageQuery(BaseModel):
    """Which page of a list; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="How many at most.")
    cursor: str | None = Field(None, description="`nextCursor` of the page before.")


Page = Annotated[PageQuery, Query()]


class Positioned(Protocol):
    """A row of a list that is in the log's order."""

    @property
    def position(self) -> int:
        """Where its first event is."""
        ...


P = TypeVar("P", bound=Positioned)


async def page_of(
    request: Request, query: PageQuery, look: Callable[..., Awaitable[Sequence[P]]]
) -> tuple[Sequence[P], str | None]:
    """The rows of one page, and the cursor of the next if there is one.

    `look` is asked for up to `limit` rows that are older than `before`. Raises CursorRefusedError,
    StoreUnavailableError.
    """
    log = await container_of(request).log().identity()
    before = None if query.cursor is None else cursors.decode(query.cursor, log)
    rows = await look(limit=query.limit + 1, before=before)
    if len(rows) <= query.limit:
        return rows, None
    rows = rows[: query.limit]
    return rows, cursors.encode(rows[-1].position, log)


def link_to_next(request: Request, **changed: object) -> dict[str, str]:
    """The header that leads to the next page, the same filters kept; nothing after the last one."""
    if None in changed.values():
        return {}
    kept = [pair for pair in request.query_params.multi_items() if pair[0] not in changed]
    query = urlencode([*kept, *changed.items()])
    return {"Link": f'<{request.url.path}?{query}>; rel="next"'}

"""Pictures at their permanent URLs, and reference images for their owners."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from domain.image import CONTENT_TYPES, EXTENSIONS
from interfaces.rest import openapi
from interfaces.rest import problem_types as kinds
from interfaces.rest.authentication import Authenticated
from interfaces.rest.context import container_of
from interfaces.rest.errors import NotFoundError, RangeNotSatisfiableError
from interfaces.rest.headers import names_etag
from interfaces.rest.openapi import problems

PUBLIC = "public, max-age=31536000, immutable"
PRIVATE = "private, max-age=31536000, immutable"
TYPES = {EXTENSIONS[content_type]: content_type for content_type in CONTENT_TYPES.values()}

_BYTES = {"content": {t: {"schema": {"type": "string", "format": "binary"}} for t in EXTENSIONS}}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture", **_BYTES},
    206: {"description": "The part of it that Range asked for", **_BYTES},
    304: {"description": "You have it"},
}
_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})", re.IGNORECASE)

router = APIRouter(tags=["images"])

Owner = Annotated[str, Path(description="Whose it is: yours.", examples=[str(UUID(int=0))])]
Of = Annotated[str, Path(description="The generation's id.", examples=[str(UUID(int=0))])]
File = Annotated[
    str, Path(description="As `url` has it: it carries the hash.", examples=["1-5f1c.png"])
]


@router.get(
    "/images/{generation}/{name}",
    operation_id="getImage",
    summary="A picture, at its permanent URL",
    openapi_extra=openapi.PUBLIC,
    response_class=FileResponse,
    responses={**_PICTURE, **problems(kinds.NOT_FOUND, kinds.RANGE_NOT_SATISFIABLE, kinds.BUSY)},
)
async def image(request: Request, generation: Of, name: File) -> Response:
    """Whoever has the URL can see it. It never changes."""
    return await _serve(request, f"images/{generation}/{name}", caching=PUBLIC)


@router.get(
    "/references/{user}/{name}",
    operation_id="getReferenceImage",
    summary="A reference image of yours",
    response_class=FileResponse,
    responses={
        **_PICTURE,
        **problems(
            kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.RANGE_NOT_SATISFIABLE, kinds.BUSY
        ),
    },
)
async def reference(request: Request, caller: Authenticated, user: Owner, name: File) -> Response:
    """For its owner only."""
    if user != str(caller.user_id):
        raise NotFoundError
    return await _serve(request, f"references/{user}/{name}", caching=PRIVATE)


async def _serve(request: Request, key: str, *, caching: str) -> Response:
    path = await asyncio.to_thread(container_of(request).image_store().path_of, key)
    if path is None:
        raise NotFoundError
    etag = f'"{path.stem.rpartition("-")[2]}"'  # the name carries the hash
    headers = {"ETag": etag, "Cache-Control": caching}
    if names_etag(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    size = (await asyncio.to_thread(path.stat)).st_size
    if not _is_range_of(request, size, etag):
        request.scope["headers"] = [h for h in request.scope["headers"] if h[0] != b"range"]
    return FileResponse(path, headers=headers, media_type=TYPES[path.suffix[1:]])


def _is_range_of(request: Request, size: int, etag: str) -> bool:
    """Whether one part is asked for in the one way we understand; other ways are ignored.

    Raises RangeNotSatisfiableError.
    """
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if request.method != "GET" or match is None or request.headers.get("if-range", etag) != etag:
        return False
    first, last = match["first"], match["last"]
    if not first + last or (first and last and int(first) > int(last)):
        return False
    if int(first or 0) >= size or (not first and not int(last)):
        raise RangeNotSatisfiableError(size)
    return True

"""Pictures at their permanent URLs, and reference images for their owners."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from domain.image import CONTENT_TYPES, EXTENSIONS
from interfaces.rest import openapi
from interfaces.rest import problem_types as kinds
from interfaces.rest.authentication import Authenticated
from interfaces.rest.carried import CarriedResponse, Carrying
from interfaces.rest.context import container_of
from interfaces.rest.errors import NotFoundError
from interfaces.rest.headers import names_etag
from interfaces.rest.openapi import problems
from interfaces.rest.ranges import part_of
from interfaces.rest.security import FOR_ALL_SITES, PICTURE

PUBLIC = "public, max-age=31536000, immutable"
PRIVATE = "private, max-age=31536000, immutable"
TYPES = {EXTENSIONS[content_type]: content_type for content_type in CONTENT_TYPES.values()}

_BYTES = {"content": {t: {"schema": {"type": "string", "format": "binary"}} for t in EXTENSIONS}}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture", **_BYTES},
    206: {"description": "The part of it that Range asked for", **_BYTES},
    304: {"description": "You have it"},
}
_ELSEWHERE: dict[int | str, dict[str, Any]] = {
    307: {"description": "The image store itself serves it, at `Location`"},
}

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
    responses={
        **_PICTURE,
        **_ELSEWHERE,
        **problems(kinds.NOT_FOUND, kinds.RANGE_NOT_SATISFIABLE, kinds.BUSY),
    },
)
async def image(request: Request, generation: Of, name: File) -> Response:
    """Whoever has the URL can see it. It never changes."""
    key, container = f"images/{generation}/{name}", container_of(request)
    if container.files() is None:  # also what was served from here before
        return RedirectResponse(container.image_store().url(key), headers=FOR_ALL_SITES)
    return await _serve(request, key, caching=PUBLIC)


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
    files = container_of(request).files()
    if files is None:
        return await _carry(request, key, caching=caching)
    path = await asyncio.to_thread(files.path_of, key)
    if path is None:
        raise NotFoundError
    headers = _headers(key, caching)
    if _is_known(request, headers):
        return Response(status_code=304, headers=headers)
    size = (await asyncio.to_thread(path.stat)).st_size
    if part_of(request, size, headers["ETag"]) is None:
        request.scope["headers"] = [h for h in request.scope["headers"] if h[0] != b"range"]
    return FileResponse(path, headers=headers, media_type=_type(key))


async def _carry(request: Request, key: str, *, caching: str) -> Response:
    headers = _headers(key, caching)
    if _is_known(request, headers):  # without a look: it never changes, whoever has it has it
        return Response(status_code=304, headers=headers)
    carrying: Carrying = request.app.state.carrying
    whose = key.split("/")[1]
    carrying.begin(whose)
    try:
        data = await container_of(request).pictures().read(key)
        part = part_of(request, len(data), headers["ETag"])
        return CarriedResponse(
            data,
            part,
            carrying=carrying,
            whose=whose,
            headers=headers,
            media_type=_type(key),
        )
    except BaseException:
        carrying.end(whose)
        raise


def _headers(key: str, caching: str) -> dict[str, str]:
    stem = key.rpartition(".")[0]
    return {
        "ETag": f'"{re.split("[-/]", stem)[-1]}"',  # the hash
        "Cache-Control": caching,
        "Content-Security-Policy": PICTURE,
        **(FOR_ALL_SITES if caching == PUBLIC else {}),
    }


def _is_known(request: Request, headers: dict[str, str]) -> bool:
    return names_etag(request.headers.getlist("if-none-match"), headers["ETag"])


def _type(key: str) -> str:
    return TYPES[key.rpartition(".")[2]]

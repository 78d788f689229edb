"""Answers in JSON, and what makes asking again cheap."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from fastapi import Request, Response
from pydantic import BaseModel

from interfaces.rest.headers import names_etag

REVALIDATED = "private, no-cache"  # may be kept by whom it was meant for, and asked for again


def json_answer(
    shape: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """What became of a command."""
    body = shape.model_dump_json(by_alias=True)
    return Response(body, status, headers, media_type="application/json")


def resource(
    request: Request, shape: BaseModel, headers: Mapping[str, str] | None = None
) -> Response:
    """What lies at this URL, with its ETag; 304 for who has it."""
    body = shape.model_dump_json(by_alias=True).encode()
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    told = {"Cache-Control": REVALIDATED, **(headers or {}), "ETag": etag}
    if names_etag(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers=told)
    return Response(body, 200, told, media_type="application/json")


def replayed(repeated: bool) -> dict[str, str]:
    """The header that says that a command had been done before."""
    return {"Idempotent-Replayed": "true"} if repeated else {}

"""Forms of ours: what they send, and that they are ours."""

from __future__ import annotations

from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import Request

from application.access import Caller
from interfaces.rest.cross_site import refuse_other_sites, refuse_pages_of_others
from interfaces.rest.errors import BodyTooLargeError, MalformedBodyError, MediaTypeError

FORM = "application/x-www-form-urlencoded"
MOST_BYTES = 4096
MOST_FIELDS = 10


async def read_fields(request: Request) -> dict[str, str]:
    """By name; nothing where nothing is sent.

    Raises MediaTypeError, BodyTooLargeError, MalformedBodyError.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise BodyTooLargeError(MOST_BYTES)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and content_type != FORM:
        raise MediaTypeError(f"Send a form (`Content-Type: {FORM}`).")
    try:
        fields = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise MalformedBodyError("The form cannot be read.") from error
    return dict(fields)


def refuse_forms_of_others(request: Request) -> None:
    """Raises OtherSiteError, also where nobody is logged in: a form could change who is."""
    caller = request.scope["state"]["caller"]
    if isinstance(caller, Caller):
        refuse_other_sites(request, caller)
    refuse_pages_of_others(request)


def session_of(request: Request) -> UUID | None:
    """The session that the browser has, if it goes on."""
    caller = request.scope["state"]["caller"]
    return caller.session_id if isinstance(caller, Caller) else None

"""A server that speaks Stability AI's protocol (v2beta, stable-image/generate), strictly.

Options, the first two for what nobody has seen on a bill: `bills_filtered` (default true: a blurred
picture was made), `bills_refused` (default false: the vendor says that what its moderation denied
is not charged), `picture_bytes` (default 0: tiny; else about so many bytes of noise).
"""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from hashlib import sha256
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.servers.pictures import picture
from tests.servers.protocol import ProtocolServer, seen
from tests.servers.stability_rules import (
    FIELDS,
    MAX_REQUEST_BYTES,
    MAX_SEED,
    Wish,
    read,
)

KEY = "sk-test-stability-5c0be1f7d2a94e36"
LONGEST_CLIENT_HEADER = 256
CLIENT_HEADERS = ("stability-client-id", "stability-client-user-id", "stability-client-version")
CREDIT = (
    "You lack sufficient credits to make this request. Please purchase more credits at "
    "https://platform.stability.ai/account/credits and try again."
)
FLAGGED = (
    "Your request was flagged by our content moderation system, as a result your request was "
    "denied and you were not charged."
)
TIMED_OUT = (
    "You have exceeded the rate limit of 150 requests within a 10 second period, and have been "
    "timed out for 60 seconds."
)
SAID_NO: Mapping[str, tuple[int, str, str]] = {
    "bad_request": (400, "bad_request", "some-field: is required"),
    "unknown_model": (400, "bad_request", "model: must be one of sd3.5-large"),
    "unauthorized": (
        *(401, "unauthorized"),
        "authorization: authorization: invalid or missing header value",
    ),
    "payment_required": (402, "payment_required", CREDIT),
    "content_moderation": (403, "content_moderation", FLAGGED),
    "not_found": (404, "not_found", "The requested resource was not found."),
    "payload_too_large": (
        *(413, "payload_too_large"),
        "body: payloads cannot be larger than 10MiB in size",
    ),
    "invalid_language": (
        *(422, "invalid_language"),
        "English is the only supported language for this service.",
    ),
    "public_figure": (
        *(422, "public_figure"),
        "Our system detected the likeness of a public figure in your image.",
    ),
    "rate_limit_exceeded": (429, "rate_limit_exceeded", TIMED_OUT),
    "internal_error": (500, "internal_error", "An unexpected server error has occurred."),
}
"""What its own errors are, by name: status, the body's `name`, and what it says."""

AT_THE_DOOR = (
    "unauthorized_v1",
    "proxy_forbids",
    "proxy_redirects",
    "proxy_502",
    "proxy_503",
    "proxy_page",
)
MODERATED = ("content_moderation", "public_figure")
BEHIND_IT = ("proxy_408", "proxy_504", "proxy_524")
SPOILT = ("content_filtered", "no_verdict", "wrong_content_type", "empty_body", "not_an_image")
"""Faults of the answer to a picture that was made: blurred; without `finish-reason`; of another
type than the picture's; with no bytes; with bytes that are no picture."""


def server() -> ProtocolServer:
    """The three routes that generate."""

    async def generate(request: Request) -> Response:
        return await _generate(made, request)

    path = "/v2beta/stable-image/generate/{route}"
    faults = (*SAID_NO, *AT_THE_DOOR, *BEHIND_IT, *SPOILT)
    made = ProtocolServer([Route(path, generate, methods=["POST"])], errors=faults)
    return made


async def _generate(made: ProtocolServer, request: Request) -> Response:
    route, noted = request.path_params["route"], seen(request)
    if route not in FIELDS:
        return _no(*SAID_NO["not_found"])
    if wrong := await _wrong_with_head(request):
        return wrong
    try:
        async with request.form(max_part_size=MAX_REQUEST_BYTES) as form:
            wish = await read(route, form)
    except HTTPException as error:
        return _no(400, "bad_request", f"body: {error.detail}")
    noted.facts = _facts(wish, request)
    if wish.errors:
        return _no(400, "bad_request", *wish.errors)
    fault, options = noted.fault or "", made.switches.options
    if fault in SAID_NO:
        noted.billed = fault in MODERATED and options.get("bills_refused", False)
        return _no(*SAID_NO[fault])
    if fault in AT_THE_DOOR:
        return _in_between(fault, request)
    noted.billed = fault != "content_filtered" or options.get("bills_filtered", True)
    if fault in BEHIND_IT:
        return _in_between(fault, request)
    return _picture(wish, fault, request, int(options.get("picture_bytes", 0)))


async def _wrong_with_head(request: Request) -> Response | None:
    """What is refused before the fields are looked at; the body is read for it."""
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return _no(*SAID_NO["unauthorized"])
    if len(await request.body()) > MAX_REQUEST_BYTES:
        return _no(*SAID_NO["payload_too_large"])
    if not request.headers.get("content-type", "").startswith("multipart/form-data; boundary="):
        return _no(400, "bad_request", "content-type: must be multipart/form-data")
    if request.headers.get("accept", "image/*") not in ("image/*", "application/json", "*/*"):
        return _no(400, "bad_request", "accept: must be image/* or application/json")
    for name in CLIENT_HEADERS:
        if len(request.headers.get(name, "")) > LONGEST_CLIENT_HEADER:
            return _no(400, "bad_request", f"{name}: must be at most 256 characters long")
    return None


def _facts(wish: Wish, request: Request) -> dict[str, object]:
    headers = {name: request.headers[name] for name in CLIENT_HEADERS if name in request.headers}
    image = None
    if wish.image is not None:
        image = {"sha256": sha256(wish.image).hexdigest(), "size": wish.image_size}
    accept = request.headers.get("accept")
    references = 0 if image is None else 1
    wished = {**wish.fields, "references": references, "image": image}
    return {"model": wish.model, **wished, **headers, "accept": accept}


def _no(status: int, name: str, *errors: str) -> Response:
    identity = name if name == "rate_limit_exceeded" else uuid4().hex
    body = {"id": identity, "name": name, "errors": list(errors)}
    return JSONResponse(body, status, headers={"x-request-id": uuid4().hex})


def _in_between(fault: str, request: Request) -> Response:
    """What somebody on the way answers, or an old part of the service."""
    key = request.headers["authorization"].removeprefix("Bearer ")
    page = f"<html><body><h1>{fault}</h1>{key}</body></html>"
    if fault == "unauthorized_v1":
        message = f"Incorrect API key provided: {key[:5]}***{key[-4:]}."
        body = {"id": uuid4().hex, "name": "unauthorized", "message": message}
        return JSONResponse(body, 401)
    if fault == "proxy_redirects":
        return RedirectResponse("/login", 302)
    if fault == "proxy_page":
        return HTMLResponse(page)
    return HTMLResponse(page, 403 if fault == "proxy_forbids" else int(fault[-3:]))


def _picture(wish: Wish, fault: str, request: Request, picture_bytes: int) -> Response:
    seed = int(float(wish.fields.get("seed", 0))) or random.randint(1, MAX_SEED)
    data = b"" if fault == "empty_body" else _paint(wish, seed, fault, picture_bytes)
    kind = "text/plain" if fault == "wrong_content_type" else f"image/{wish.format}"
    reason = "CONTENT_FILTERED" if fault == "content_filtered" else "SUCCESS"
    headers = {"x-request-id": uuid4().hex}
    if request.headers.get("accept") == "application/json":
        body: dict[str, object] = {"image": base64.b64encode(data).decode(), "seed": seed}
        if fault != "no_verdict":
            body["finish_reason"] = reason
        return JSONResponse(body, media_type=f"application/json; type={kind}", headers=headers)
    if fault != "no_verdict":
        headers["finish-reason"] = reason
    return Response(data, headers={**headers, "seed": str(seed), "content-type": kind})


def _paint(wish: Wish, seed: int, fault: str, picture_bytes: int) -> bytes:
    """A picture of the right shape, of its own for each wish and seed."""
    if fault == "not_an_image":
        return b"These bytes are no picture."
    text = f"{fault} {sorted(wish.fields.items())} {seed}"
    return picture(text, _shape(wish), wish.format, at_least=picture_bytes)


def _shape(wish: Wish) -> tuple[int, int]:
    if wish.image_size is not None and "aspect_ratio" not in wish.fields:
        return wish.image_size
    across, _, down = wish.fields.get("aspect_ratio", "1:1").partition(":")
    return int(across), int(down)

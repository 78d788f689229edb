"""What schemathesis has to know of our API; it loads this file by SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import zlib
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.specs.openapi.checks import positive_data_acceptance

from interfaces.rest.patterns import SIZE

JSON = "application/json"

# Refusals that no schema can foresee: well-formed, and still not to be had.
OF_THE_BUSINESS = {
    "cursor-refused",
    "deadline-too-long",
    "event-id-refused",
    "idempotency-key-reused",
    "key-not-possible",
    "moderation-refused",
    "no-provider",
    "quota-exceeded",
    "request-refused",
    "too-many-webhooks",
    "unusable-reference-image",
    "webhook-disabled",
}


def _picture(format_: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(stream, format_)
    return stream.getvalue()


PICTURES = {format_: _picture(format_) for format_ in ("PNG", "JPEG", "WEBP")}
DATA_URLS = [
    f"data:image/{format_.lower()};base64,{base64.b64encode(picture).decode()}"
    for format_, picture in PICTURES.items()
]

ASKING = {"POST /api/v1/generations", "POST /api/v1/generate-image"}
SWITCHING = "POST /api/v1/admin/providers/{name}"
KNOWN: dict[str, dict[str, str]] = json.loads(os.environ["FUZZ_KNOWN"])  # what is there

schemathesis.openapi.format("binary", st.sampled_from(list(PICTURES.values())))


@schemathesis.check
def positive_data_is_accepted(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    """As schemathesis's own, but for what the business refuses."""
    if _code(response) in OF_THE_BUSINESS:
        return None
    return positive_data_acceptance(ctx, response, case)


def _code(response: schemathesis.Response) -> str | None:
    try:
        return str(json.loads(response.content)["code"])
    except (ValueError, KeyError, TypeError):
        return None


@schemathesis.hook
def before_call(ctx: Any, case: schemathesis.Case, kwargs: Any) -> None:
    """What is to be an image is one, three times in four; and some pictures are there."""
    known = KNOWN.get(case.operation.label)
    if known and case.meta and case.meta.phase.name.value != "stateful" and _is_positive(case):
        case.path_parameters = dict(known)
    if case.operation.label in ASKING and isinstance(case.body, dict) and _is_positive(case):
        _leave_one_shape(case.body)
    if case.operation.label in ASKING and case.media_type == JSON and isinstance(case.body, dict):
        _make_real(case.body)
        _make_small(case.body)
    if case.operation.label == SWITCHING and isinstance(case.body, dict):
        _leave_on(case.body)


@schemathesis.hook
def map_body(ctx: schemathesis.HookContext, body: Any) -> Any:
    """Small pictures are painted soon."""
    if ctx.operation.label in ASKING and isinstance(body, dict):
        _make_small(body)
    return body


def _is_positive(case: schemathesis.Case) -> bool:
    assert case.meta is not None
    return case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE


def _make_small(body: dict[str, Any]) -> None:
    if "size" not in body and "aspectRatio" not in body:
        body["size"] = "16x16"
    elif isinstance(body.get("size"), str) and re.fullmatch(SIZE, body["size"]):
        body["size"] = "x".join(str(min(int(side), 32)) for side in body["size"].split("x"))


def _leave_on(body: dict[str, Any]) -> None:
    """Somebody has to paint for the others."""
    if body.get("enabled") is False:
        body["enabled"] = True


def _leave_one_shape(body: dict[str, Any]) -> None:
    """Examples of fields are put together by schemathesis; with a file among them, unchecked."""
    if "size" in body:
        body.pop("aspectRatio", None)


def _make_real(body: dict[str, Any]) -> None:
    references = body.get("referenceImages")
    if isinstance(references, list):
        body["referenceImages"] = [_real(one) for one in references]


def _real(reference: Any) -> Any:
    if not isinstance(reference, str):
        return reference
    number = zlib.crc32(reference.encode())
    return DATA_URLS[number % len(DATA_URLS)] if reference and number % 4 else reference

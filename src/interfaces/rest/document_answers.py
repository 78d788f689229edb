"""What the OpenAPI document says of all answers alike: headers, examples, where they lead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

JSON = "application/json"
Operation = dict[str, Any]

HEADERS = {
    "RequestId": ("X-Request-Id", "The request's id, yours if you sent one: quote it to us."),
    "Location": ("Location", "Where the generation is found."),
    "RetryAfter": ("Retry-After", "Seconds until it is worth asking again."),
    "ETag": ("ETag", "Send it back as `If-None-Match`, and what has not changed is not sent."),
    "CacheControl": ("Cache-Control", "Who may keep it, and for how long."),
    "Next": ("Link", 'The next page, as `<...>; rel="next"`.'),
    "Replayed": ("Idempotent-Replayed", "`true`: it had been done before, under the same key."),
    "Applied": ("Preference-Applied", "What of `Prefer` was followed."),
    "Challenge": ("WWW-Authenticate", "How to authenticate: `Bearer`."),
    "ContentRange": ("Content-Range", "Which bytes, of how many."),
    "RateLimitPolicy": (
        "RateLimit-Policy",
        "Your limits, as draft-ietf-httpapi-ratelimit-headers-11 has them, such as"
        ' `"daily";q=500;w=86400;darkroom-unit="images"`: `q` pictures in a window of `w` seconds.'
        " Windows without a limit are left out, and the header where none has one. Those of the"
        ' quota stand where units are taken or told of; those against bursts (`"key-per-minute";'
        "q=600;w=60`, in requests) in every answer to a key or a login.",
    ),
    "RateLimit": (
        "RateLimit",
        'What is left, such as `"daily";r=497;t=3600`: `r` pictures for another `t` seconds, as'
        " this request left it. Those of the quota are not told again when a request is repeated.",
    ),
}
OF_STATUS = {
    "201": ("Location", "Applied", "Replayed"),
    "202": ("Location", "RetryAfter", "Applied", "Replayed"),
    "206": ("ContentRange", "ETag", "CacheControl"),
    "304": ("ETag", "CacheControl"),
    "401": ("Challenge",),
    "416": ("ContentRange",),
    "429": ("RetryAfter",),
    "503": ("RetryAfter",),
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` that you have: 304 if it is still the same.",
    "schema": {"type": "string"},
}
NOT_MODIFIED = {"description": "You have it: nothing has changed"}
LIMITS = ("RateLimitPolicy", "RateLimit")
MADE = ("createGeneration", "generateImage", "retryGeneration")
LISTS = ("listGenerations", "listKeys", "listKeysOf", "listDeliveries", "listUsers")
LEADS_TO = (
    "getGeneration",
    "getJob",
    "listGenerationEvents",
    "cancelGeneration",
    "retryGeneration",
    "deleteGeneration",
)


def complete_answers(document: dict[str, Any]) -> None:
    """Adds headers, examples and links to every operation."""
    components = document["components"]
    examples: dict[str, Any] = json.loads((files("interfaces.rest") / "examples.json").read_text())
    components["examples"] = examples.pop("components")
    components["headers"] = {name: _header(text) for name, (_, text) in HEADERS.items()}
    for path, method, operation in operations(document):
        answers = operation["responses"]
        for parameter in operation.get("parameters", []):
            if parameter["schema"].get("type") == "array":
                parameter.update(style="form", explode=True)
        if method == "get" and path.startswith("/api/"):
            operation.setdefault("parameters", []).append(IF_NONE_MATCH)
            answers["304"] = dict(NOT_MODIFIED)
        operation["responses"] = dict(sorted(answers.items()))
        for status, answer in operation["responses"].items():
            _add_headers(path, method, status, answer)
            if status == "201" and operation["operationId"] not in MADE:
                _leave_out(answer, "Location", "Applied")
            _share_examples(answer, components["examples"])
        _add_limits(operation)
        _add_examples(operation, examples)
        _add_links(operation)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Path, method and what is said of it."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


def _add_headers(path: str, method: str, status: str, answer: dict[str, Any]) -> None:
    names = ["RequestId", *OF_STATUS.get(status, ())]
    if status == "200" and method == "get" and path.startswith(("/api/", "/images", "/references")):
        names += ["ETag", "CacheControl"]
    told = answer.setdefault("headers", {})
    for name in names:
        told[HEADERS[name][0]] = {"$ref": f"#/components/headers/{name}"}


def _leave_out(answer: dict[str, Any], *names: str) -> None:
    for name in names:
        del answer["headers"][HEADERS[name][0]]


def _add_limits(operation: Operation) -> None:
    """Whoever is known is told how their limits stand, and where units are taken, of those."""
    if "401" not in operation["responses"]:
        return
    for status, answer in operation["responses"].items():
        if status[0] in "23" or status == "429":
            for name in LIMITS:
                told = {"$ref": f"#/components/headers/{name}"}
                answer["headers"][HEADERS[name][0]] = told


def _share_examples(answer: dict[str, Any], shared: dict[str, Any]) -> None:
    """The same error looks the same wherever it comes: it is told once."""
    for content in answer.get("content", {}).values():
        for name, example in content.get("examples", {}).items():
            if "value" in example:
                shared.setdefault(name, example)
                content["examples"][name] = {"$ref": f"#/components/examples/{name}"}


def _add_examples(operation: Operation, examples: dict[str, Any]) -> None:
    """From examples.json, by operation and status; `request` is what is sent."""
    for place, by_type in examples.get(operation["operationId"], {}).items():
        told = operation["requestBody"] if place == "request" else operation["responses"][place]
        for media_type, names in by_type.items():
            told["content"][media_type]["examples"] = {
                name: {"$ref": f"#/components/examples/{name}"} for name in names
            }


def _add_links(operation: Operation) -> None:
    name = operation["operationId"]
    if name in MADE:
        for status in ("201", "202"):
            operation["responses"][status]["links"] = {
                target: {"operationId": target, "parameters": {"id": "$response.body#/id"}}
                for target in LEADS_TO
            }
    if name in LISTS:
        operation["responses"]["200"]["headers"]["Link"] = {"$ref": "#/components/headers/Next"}
        cursor = {"operationId": name, "parameters": {"cursor": "$response.body#/nextCursor"}}
        operation["responses"]["200"]["links"] = {"nextPage": cursor}

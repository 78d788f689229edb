"""The OpenAPI document as a whole: what stands before, between and behind the operations."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from interfaces.rest.document_answers import complete_answers
from interfaces.rest.document_form import add_form
from interfaces.rest.document_webhooks import add_webhooks
from interfaces.rest.openapi import completed

SUMMARY = "Image generation behind one durable API."
CONTACT = {"name": "Whoever runs this Darkroom"}
LICENSE = {"name": "All rights reserved", "identifier": "LicenseRef-All-rights-reserved"}
SERVERS = [{"url": "/", "description": "The service that serves this document."}]
TAGS = {
    "generations": "Ask for pictures, follow them, look back over them.",
    "jobs": "How far a generation is, and why it waits.",
    "images": "Pictures at their permanent URLs, and your reference images.",
    "providers": "Who makes the pictures, what each can do, and how each is.",
    "me": "What concerns you alone: who you are here, your preferences, sessions and quota.",
    "keys": "API keys: what your backends show to act for you, within their scopes.",
    "errors": "Every kind of error: what happened, why, and what to do.",
    "admin": "For administrators: users, their keys and sessions; providers and their order.",
    "operate": "For those who run Darkroom: is it alive, is it ready.",
    "webhooks": "What Darkroom tells your server by itself: where, of what, and what came of it.",
}
API_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "Your API key, as `Authorization: Bearer <key>`. Whoever runs Darkroom gives it "
    "to you; `darkroom up` leaves the administrator's in the file `admin-key` of its data folder.",
}
NAMING = ("properties", "patternProperties", "schemas")  # their keys are names, not keywords
DATA = ("const", "default", "enum", "example", "examples", "x-examples")


def document_of(app: FastAPI) -> dict[str, Any]:
    """The document that this application serves."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=SUMMARY,
        description=(files("interfaces.rest") / "guide.md").read_text(),
        routes=app.routes,
        tags=[_tag(name, description) for name, description in TAGS.items()],
        servers=SERVERS,
        contact=CONTACT,
        license_info=LICENSE,
    )
    document = completed(document)
    document["components"]["securitySchemes"] = {"apiKey": API_KEY}
    add_form(document)
    complete_answers(document)
    add_webhooks(document)
    _put_in_order(document)
    return {
        part: _tidied(told, names=False) if part in ("paths", "components", "webhooks") else told
        for part, told in document.items()
    }


def _tag(name: str, description: str) -> dict[str, str]:
    return {"name": name, "description": description, "x-displayName": name.capitalize()}


def _put_in_order(document: dict[str, Any]) -> None:
    """The paths as their tags are listed, the schemas by name."""
    places = {name: place for place, name in enumerate(TAGS)}

    def place(path: tuple[str, dict[str, Any]]) -> int:
        return min(places[operation["tags"][0]] for operation in path[1].values())

    paths = sorted(document["paths"].items(), key=place)
    document["paths"] = {path: dict(sorted(of.items(), key=_verb)) for path, of in paths}
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = {_public(name): schemas[name] for name in sorted(schemas)}


def _verb(operation: tuple[str, Any]) -> int:
    return ("post", "get", "put", "patch", "delete").index(operation[0])


def _tidied(part: Any, *, names: bool) -> Any:
    """Without what only our code knows: a shape is called what it shows, a field by its name.

    Nor is null a default: generated types would make it one that has to be sent.
    `names` says that the keys of this part are names, not the words of OpenAPI or JSON Schema.
    """
    if isinstance(part, list):
        return [_tidied(one, names=False) for one in part]
    if not isinstance(part, dict):
        return part
    tidied = {}
    for key, value in part.items():
        if names:
            tidied[key] = _tidied(value, names=False)
        elif key == "$ref":
            tidied[key] = _public(value)
        elif key in DATA and value is not None:
            tidied[key] = value
        elif key != "title" and value is not None:
            tidied[key] = _tidied(value, names=key in NAMING)
    return tidied


def _public(name: str) -> str:
    return name.removesuffix("Shape")

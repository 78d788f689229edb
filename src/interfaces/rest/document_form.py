"""The form (multipart/form-data) that asks for pictures, in the OpenAPI document."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from interfaces.rest.shapes import GenerationRequest

FILE_TYPES = "image/png, image/jpeg, image/webp"


def add_form(document: dict[str, Any]) -> None:
    """The schema of the form, and of what types its parts are."""
    schemas = document["components"]["schemas"]
    schemas["GenerationForm"] = _form_of(schemas[GenerationRequest.__name__])
    for path in document["paths"].values():
        for operation in path.values():
            content = operation.get("requestBody", {}).get("content", {})
            if form := content.get("multipart/form-data"):
                form["encoding"] = {
                    "referenceImages": {"contentType": FILE_TYPES},
                    "mask": {"contentType": "image/png"},
                    "metadata": {"contentType": "application/json"},
                }


def _form_of(request: dict[str, Any]) -> dict[str, Any]:
    """The same fields: what is not sent is left out, never null, and the images are files."""
    form = deepcopy(request)
    form["description"] = "The same fields as in JSON, reference images and mask as files."
    form["dependentSchemas"] = {"size": {"properties": {"aspectRatio": False}}}
    del form["if"], form["then"]
    form["properties"] = {name: _part(field) for name, field in form["properties"].items()}
    form["properties"]["referenceImages"]["items"] = {"type": "string", "format": "binary"}
    form["properties"]["referenceImages"]["description"] = (
        "PNG, JPEG or WebP files; text parts are read as in JSON."
    )
    form["properties"]["mask"] |= {"format": "binary"}
    form["properties"]["mask"].pop("minLength")
    form["properties"]["mask"]["description"] = (
        "A PNG file with an alpha channel, as large as the first reference image, which is painted "
        "anew where the mask is transparent."
    )
    form["properties"]["metadata"]["description"] += " In a form, a JSON object."
    return form


def _part(field: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in field.pop("anyOf", []) if kind.get("type") != "null"]
    if kinds:
        field.pop("default")
    return {**field, **(kinds[0] if kinds else {})}

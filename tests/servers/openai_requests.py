"""What is asked of OpenAI's image routes, read as strictly as the real ones read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from tests.servers.openai_errors import (
    BAD_REQUEST,
    RefusedError,
    duplicate,
    invalid_value,
    missing,
    refused,
    retired,
    unknown_parameter,
    wrong_type,
)
from tests.servers.openai_files import (
    GUIDES,
    IMAGES,
    File,
    check_files,
    check_guides,
    files_of_form,
    files_of_json,
)
from tests.servers.openai_models import MODELS, RETIRED, ImageModel

MOST_CHARACTERS = 32_000
FORMATS = ("png", "webp", "jpeg")
STRINGS = (
    *("prompt", "model", "size", "quality", "background", "output_format", "moderation"),
    *("safety_identifier", "user", "input_fidelity", "complexity"),
)
WHOLE_NUMBERS = {"n": (1, 10), "output_compression": (0, 100), "partial_images": (0, 3)}
GENERATION_FIELDS = {*STRINGS, *WHOLE_NUMBERS, "stream"} - {"input_fidelity"}
EDIT_FIELDS = {*STRINGS, *WHOLE_NUMBERS, "stream"} - {"moderation"}


@dataclass(frozen=True)
class Ask:
    """A request that was found right."""

    prompt: str
    model: ImageModel
    n: int = 1
    size: str = "auto"
    quality: str = "auto"
    background: str = "auto"
    format: str = "png"
    stream: bool = False
    partial_images: int = 0
    safety_identifier: str | None = None
    files: Sequence[File] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


async def generation_asked(request: Request) -> Ask:
    """Read a request to /v1/images/generations. Raises RefusedError."""
    _refuse_unless(request, "application/json")
    return _ask(await _object(request), GENERATION_FIELDS, files=())


async def edit_asked(request: Request) -> Ask:
    """Read a request to /v1/images/edits, multipart or JSON. Raises RefusedError."""
    if request.headers.get("content-type", "").startswith("application/json"):
        fields = await _object(request)
        files = files_of_json(fields)
    else:
        _refuse_unless(request, "multipart/form-data")
        async with request.form(max_files=99, max_part_size=1024**2) as form:
            fields, files = _scalars(form), await files_of_form(form)
    check_files(files)
    ask = _ask(fields, EDIT_FIELDS, files=files)
    check_guides(files, markup=ask.model.markup)
    return ask


def _refuse_unless(request: Request, content_type: str) -> None:
    got = request.headers.get("content-type", "")
    if not got.startswith(content_type):
        raise RefusedError(400, f"Unsupported content type: '{got}'.", BAD_REQUEST)


async def _object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "We could not parse the JSON body of your request.", BAD_REQUEST)
    return body


# --- scalars ---------------------------------------------------------------------------------


def _ask(fields: Mapping[str, Any], known: set[str], *, files: Sequence[File]) -> Ask:
    given = {name: value for name, value in fields.items() if value is not None}
    for name, value in given.items():
        _check_type(name, value, known)
    model = _model(given)
    _check_values(given, model)
    return Ask(
        prompt=given["prompt"],
        model=model,
        n=given.get("n", 1),
        size=given.get("size", "auto"),
        quality=given.get("quality", "auto"),
        background=given.get("background", "auto"),
        format=given.get("output_format", "png"),
        stream=given.get("stream", False),
        partial_images=given.get("partial_images", 0),
        safety_identifier=given.get("safety_identifier") or given.get("user"),
        files=files,
        facts={name: value for name, value in given.items() if name != "prompt"},
    )


def _check_type(name: str, value: object, known: set[str]) -> None:
    if name not in known:
        raise unknown_parameter(name)
    if name in STRINGS and not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    if name == "stream" and not isinstance(value, bool):
        raise wrong_type(name, "a boolean", value)
    if name in WHOLE_NUMBERS:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(name, "an integer", value)
        least, most = WHOLE_NUMBERS[name]
        if value < least:
            raise _out_of_range(name, value, f">= {least}", "integer_below_min_value")
        if value > most:
            raise _out_of_range(name, value, f"<= {most}", "integer_above_max_value")


def _out_of_range(name: str, value: int, expected: str, code: str) -> RefusedError:
    message = f"Invalid '{name}': expected a value {expected}, but got {value} instead."
    return refused(name, message, code)


def _model(given: Mapping[str, Any]) -> ImageModel:
    if not given.get("prompt"):
        raise missing("prompt")
    if "model" not in given:
        raise missing("model")
    if (name := given["model"]) in RETIRED:
        raise retired(name)
    if name not in MODELS:
        raise invalid_value("model", name, ", ".join(map(repr, MODELS)))
    return MODELS[name]


def _check_values(given: Mapping[str, Any], model: ImageModel) -> None:
    if len(given["prompt"]) > MOST_CHARACTERS:
        message = f"Invalid 'prompt': expected at most {MOST_CHARACTERS} characters."
        raise refused("prompt", message, "string_above_max_length")
    choices = {
        "quality": model.qualities,
        "background": ("auto", "opaque", "transparent"),
        "output_format": FORMATS,
        "moderation": ("auto", "low"),
        "input_fidelity": model.fidelities,
        "complexity": ("low", "medium", "high") if model.complexity else (),
    }
    for name, supported in choices.items():
        if name in given and given[name] not in supported:
            raise invalid_value(name, given[name], ", ".join(map(repr, supported)))
    if not model.makes(given.get("size", "auto")):
        raise invalid_value("size", given["size"], "those that the model makes")
    _check_combinations(given)


def _check_combinations(given: Mapping[str, Any]) -> None:
    format = given.get("output_format", "png")  # noqa: A001  # what OpenAI calls it
    if given.get("background") == "transparent" and format == "jpeg":
        raise refused("background", "Transparent background is not supported for JPEG.")
    if format == "png" and given.get("output_compression", 100) != 100:
        message = "Compression less than 100 is not supported for PNG output format."
        raise refused("output_compression", message, "invalid_png_output_compression")
    if "partial_images" in given and not given.get("stream"):
        raise refused("partial_images", "'partial_images' is only supported with stream=true.")


def _scalars(form: FormData) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in (*IMAGES, *GUIDES):
            if not isinstance(value, UploadFile):
                raise wrong_type(name, "a file", value)
            continue
        if isinstance(value, UploadFile):
            raise unknown_parameter(name)
        if name in fields:
            raise duplicate(name)
        fields[name] = _READERS.get(name, str)(value)
    return fields


def _whole_number(text: str) -> object:
    return int(text) if text.removeprefix("-").isdigit() else text


def _boolean(text: str) -> object:
    return {"true": True, "false": False}.get(text, text)


_READERS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(WHOLE_NUMBERS, _whole_number),
    "stream": _boolean,
}

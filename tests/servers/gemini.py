"""A server that speaks Gemini's generateContent for image models, as strictly as the real one.

`v1` and `v1beta` are served alike, but `options["v1_rejects"]` names fields of generationConfig
that `v1` does not know (`responseModalities`, `imageConfig`): whether the real one does is unknown.
`options["picture_type"]` is what pictures are (`image/png`), `options["picture_bytes"]` how large
they are at least.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from PIL import Image, UnidentifiedImageError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.gemini_answers import ANSWERS, Asked, picture_answer
from tests.servers.gemini_problems import ERRORS, bad_request, problem
from tests.servers.gemini_requests import (
    MODELS,
    Blob,
    GenerateContentRequest,
    ModelRules,
    complaint,
)
from tests.servers.protocol import ProtocolServer, Seen, seen

KEY = "AIza-test-gemini-9c1e5b7d"
VERSIONS = ("v1", "v1beta")
MOST_BYTES = 20 * 1024 * 1024
MOST_REFERENCES = 14
MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


class RefusedError(Exception):
    """The request is answered with a problem."""

    def __init__(self, response: Response) -> None:
        self.response = response
        super().__init__("refused")


def server() -> ProtocolServer:
    """Speaks to who has the KEY."""
    gemini = _Gemini()
    routes = [
        Route("/{version}/models", gemini.list_models, methods=["GET"]),
        Route("/{version}/models/{called:path}", gemini.generate, methods=["POST"]),
    ]
    gemini.server = ProtocolServer(routes, errors=(*ERRORS, *ANSWERS))
    return gemini.server


class _Gemini:
    server: ProtocolServer

    @property
    def _options(self) -> Mapping[str, Any]:
        return self.server.switches.options

    async def list_models(self, request: Request) -> Response:
        """The models that there are."""
        try:
            self._check_version_and_key(request)
        except RefusedError as error:
            return error.response
        listed = [
            {"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"]}
            for name in MODELS
        ]
        return JSONResponse({"models": listed})

    async def generate(self, request: Request) -> Response:
        """One picture, or whatever fault there is to be."""
        noted, raw = seen(request), await request.body()
        try:
            self._check_version_and_key(request)
            asked = self._asked(request, raw)
        except RefusedError as error:
            return error.response
        noted.facts = {"version": request.path_params["version"], **asdict(asked)}
        return self._answer(asked, noted)

    def _answer(self, asked: Asked, noted: Seen) -> Response:
        if noted.fault in ERRORS:
            return ERRORS[noted.fault]()
        if noted.fault in ANSWERS:
            answer = ANSWERS[noted.fault](asked)
            noted.billed = answer.billed
            return answer.response
        noted.billed = True
        return JSONResponse(picture_answer(asked))

    def _check_version_and_key(self, request: Request) -> None:
        if request.path_params["version"] not in VERSIONS:
            raise RefusedError(problem(404, "NOT_FOUND", "Requested entity was not found."))
        key = request.headers.get("x-goog-api-key")
        if not key:
            raise RefusedError(
                problem(
                    403,
                    "PERMISSION_DENIED",
                    "Method doesn't allow unregistered callers (callers without established "
                    "identity). Please use API Key or other form of API consumer identity to call "
                    "this API.",
                )
            )
        if key != KEY:
            raise RefusedError(ERRORS["api_key_invalid"]())

    def _asked(self, request: Request, raw: bytes) -> Asked:
        name, _, method = request.path_params["called"].partition(":")
        rules = MODELS.get(name)
        if method != "generateContent" or rules is None:
            message = (
                f"models/{name} is not found for API version {request.path_params['version']}, or "
                "is not supported for generateContent. Call ModelService.ListModels to see the "
                "list of available models and their supported methods."
            )
            raise RefusedError(problem(404, "NOT_FOUND", message))
        if len(raw) > MOST_BYTES:
            raise RefusedError(
                bad_request(f"Request payload size exceeds the limit: {MOST_BYTES} bytes.")
            )
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise RefusedError(bad_request("Invalid content type: application/json is expected."))
        try:
            body = GenerateContentRequest.model_validate_json(raw)
        except ValidationError as error:
            raise RefusedError(bad_request(complaint(error))) from error
        if request.path_params["version"] == "v1":
            self._refuse_what_v1_does_not_know(body)
        return self._understood(name, rules, body)

    def _refuse_what_v1_does_not_know(self, body: GenerateContentRequest) -> None:
        known = body.generation_config.model_dump(by_alias=True, exclude_none=True)
        for name in self._options.get("v1_rejects", ()):
            if name in known:
                raise RefusedError(
                    bad_request(
                        f'Invalid JSON payload received. Unknown name "{name}" at '
                        "'generation_config': Cannot find field."
                    )
                )

    def _understood(self, name: str, rules: ModelRules, body: GenerateContentRequest) -> Asked:
        if wrong := body.mistake(rules):
            raise RefusedError(bad_request(wrong))
        blobs = [part.inline_data for part in body.parts if part.inline_data]
        if len(blobs) > MOST_REFERENCES:
            raise RefusedError(bad_request(f"At most {MOST_REFERENCES} images can be given."))
        for blob in blobs:
            _refuse_other_media(blob)
        config = body.generation_config
        image = config.image_config
        return Asked(
            model=name,
            prompt=" ".join(part.text for part in body.parts if part.text),
            references=len(blobs),
            aspect_ratio=image.aspect_ratio if image else None,
            image_size=image.image_size if image else None,
            seed=config.seed,
            modalities=tuple(config.response_modalities or ()),
            picture_type=self._options.get("picture_type", "image/png"),
            picture_bytes=self._options.get("picture_bytes", 0),
        )


def _refuse_other_media(blob: Blob) -> None:
    """What is sent has to be an image, and of the type that it is said to be of."""
    try:
        with Image.open(
            io.BytesIO(base64.b64decode(blob.data, altchars=b"-_", validate=True))
        ) as image:
            image.load()
            is_right = MEDIA.get(image.format or "") == blob.mime_type
    except (binascii.Error, UnidentifiedImageError, OSError):
        is_right = False
    if not is_right:
        raise RefusedError(bad_request("Unable to process input image. Please retry or report."))

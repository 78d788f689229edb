"""What the server for Gemini answers: pictures, refusals that come as 200, and problems."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from tests.servers.pictures import picture

IMAGE_TOKENS = {None: 1120, "512": 747, "1K": 1120, "2K": 1680, "4K": 2520}
NOT_CHARGED = (
    "Unable to show the generated image. The model could not generate the image based on the "
    "prompt provided. You will not be charged for this request. Try rephrasing the prompt."
)
BLOCK_REASONS = (
    *("SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR"),
    "JAILBREAK",
)
FINISH_REASONS = (
    *("SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "IMAGE_SAFETY"),
    *("IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "NO_IMAGE", "OTHER", "MAX_TOKENS"),
    "SOMETHING_NEW",
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a request was understood to ask for."""

    model: str
    prompt: str
    references: int
    aspect_ratio: str | None
    image_size: str | None
    seed: int | None
    modalities: tuple[str, ...]
    picture_type: str
    picture_bytes: int


@dataclass(frozen=True)
class Answer:
    """A 200, and whether a picture is paid for with it."""

    response: Response
    billed: bool


# --- pictures ------------------------------------------------------------------------------------


def painted(asked: Asked, *, of: str = "the picture") -> bytes:
    """A real picture of the right shape, whose colour comes from the prompt."""
    across, _, down = (asked.aspect_ratio or "1:1").partition(":")
    return picture(
        f"{asked.prompt}{asked.seed}{of}",
        (int(across), int(down)),
        asked.picture_type.removeprefix("image/"),
        at_least=asked.picture_bytes,
    )


def picture_part(asked: Asked, *, of: str = "the picture") -> Json:
    """A part with a picture in it."""
    data = base64.b64encode(painted(asked, of=of)).decode()
    return {
        "inlineData": {"mimeType": asked.picture_type, "data": data},
        "thoughtSignature": base64.b64encode(b"a signature").decode(),
    }


def usage(asked: Asked, *, pictures: int = 1, text: int = 0, thoughts: int = 0) -> Json:
    """What is billed."""
    prompt = [{"modality": "TEXT", "tokenCount": len(asked.prompt.split())}]
    if asked.references:
        prompt.append({"modality": "IMAGE", "tokenCount": 1120 * asked.references})
    made = []
    if text:
        made.append({"modality": "TEXT", "tokenCount": text})
    if pictures:
        tokens = IMAGE_TOKENS[asked.image_size] * pictures
        made.append({"modality": "IMAGE", "tokenCount": tokens})
    counted: Json = {
        "promptTokenCount": sum(one["tokenCount"] for one in prompt),
        "promptTokensDetails": prompt,
    }
    if made:
        counted["candidatesTokenCount"] = sum(one["tokenCount"] for one in made)
        counted["candidatesTokensDetails"] = made
    if thoughts:
        counted["thoughtsTokenCount"] = thoughts
    counted["totalTokenCount"] = (
        counted["promptTokenCount"] + counted.get("candidatesTokenCount", 0) + thoughts
    )
    return counted


def _answer(asked: Asked, candidates: list[Json] | None, used: Json | None, **more: Any) -> Json:
    body: Json = {**more, "modelVersion": asked.model, "responseId": uuid4().hex}
    if candidates is not None:
        body["candidates"] = candidates
    if used is not None:
        body["usageMetadata"] = used
    return body


def _candidate(content: Json, finish_reason: str = "STOP", **more: Any) -> Json:
    return {"content": content, "finishReason": finish_reason, "index": 0, **more}


def _said(*parts: Json) -> Json:
    return {"role": "model", "parts": list(parts)}


def picture_answer(asked: Asked) -> Json:
    """What one usually gets."""
    return _answer(asked, [_candidate(_said(picture_part(asked)))], usage(asked))


# --- odd answers, all of them 200 ----------------------------------------------------------------


def _made(body: Json) -> Answer:
    return Answer(JSONResponse(body), billed=True)


def _nothing(body: Json) -> Answer:
    return Answer(JSONResponse(body), billed=False)


def _prompt_blocked(reason: str, asked: Asked) -> Answer:
    return _nothing(
        _answer(asked, None, usage(asked, pictures=0), promptFeedback={"blockReason": reason})
    )


def _finished(reason: str, asked: Asked) -> Answer:
    candidate = _candidate({}, reason, finishMessage=f"The prompt was: {asked.prompt}")
    return _nothing(_answer(asked, [candidate], usage(asked, pictures=0)))


def _image_other(asked: Asked) -> Answer:
    candidate = _candidate({}, "IMAGE_OTHER", finishMessage=NOT_CHARGED)
    return _nothing(_answer(asked, [candidate], usage(asked, pictures=0)))


def _to_be_continued(asked: Asked) -> Answer:
    said = _said({"text": "One moment, please."})
    candidate = _candidate(said, "CONTINUATION", continuationToken="bW9yZQ==")
    return _nothing(_answer(asked, [candidate], usage(asked, pictures=0, text=5)))


def _empty(content: Json, asked: Asked) -> Answer:
    return _nothing(_answer(asked, [_candidate(content)], usage(asked, pictures=0)))


def _no_candidates(asked: Asked) -> Answer:
    return _nothing(_answer(asked, [], None))


def _text_only(asked: Asked) -> Answer:
    said = _said({"text": f"I would rather talk about {asked.prompt}."})
    return _nothing(_answer(asked, [_candidate(said)], usage(asked, pictures=0, text=12)))


def _text_only_without_split(asked: Asked) -> Answer:
    used = usage(asked, pictures=0, text=12)
    del used["candidatesTokensDetails"]
    return _nothing(_answer(asked, [_candidate(_said({"text": "No."}))], used))


def _thoughts(asked: Asked) -> Answer:
    said = _said(
        {"text": "First a sketch.", "thought": True},
        {**picture_part(asked, of="a sketch"), "thought": True},
        {"text": "Here it is."},
        picture_part(asked),
    )
    return _made(_answer(asked, [_candidate(said)], usage(asked, text=4, thoughts=90)))


def _only_thoughts(asked: Asked) -> Answer:
    said = _said({**picture_part(asked, of="a sketch"), "thought": True})
    return _made(
        _answer(asked, [_candidate(said, "MAX_TOKENS")], usage(asked, pictures=0, thoughts=1120))
    )


def _two_pictures(asked: Asked) -> Answer:
    said = _said(picture_part(asked, of="a first try"), picture_part(asked))
    return _made(_answer(asked, [_candidate(said)], usage(asked, pictures=2)))


def _blocked_with_picture(asked: Asked) -> Answer:
    candidate = _candidate(_said(picture_part(asked)), "IMAGE_SAFETY")
    return _made(_answer(asked, [candidate], usage(asked)))


def _with_data(data: str, media: str, asked: Asked) -> Answer:
    part = {"inlineData": {"mimeType": media, "data": data}}
    return _made(_answer(asked, [_candidate(_said(part))], usage(asked)))


def _without(field: str, asked: Asked) -> Answer:
    body = picture_answer(asked)
    if field in body:
        del body[field]
    else:
        del body["usageMetadata"][field]
    return _made(body)


def _split(details: list[Json] | None, asked: Asked) -> Answer:
    body = picture_answer(asked)
    body["usageMetadata"] |= {"candidatesTokensDetails": details, "thoughtsTokenCount": None}
    return _made(body)


def _blocked_beside_a_candidate(asked: Asked) -> Answer:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    candidate = _candidate({"role": "model"})
    return _nothing(_answer(asked, [candidate], usage(asked, pictures=0), **blocked))


def _odd_facts(asked: Asked) -> Answer:
    body = picture_answer(asked)
    body["candidates"][0] |= {"finishReason": 1, "finishMessage": []}
    return _made({**body, "promptFeedback": "none", "responseId": 7})


def _whole(body: bytes, asked: Asked) -> Answer:
    return Answer(Response(body, media_type="application/json"), billed=True)


ANSWERS: dict[str, Callable[[Asked], Answer]] = {
    **{f"blocked_{why.lower()}": partial(_prompt_blocked, why) for why in BLOCK_REASONS},
    **{f"finish_{why.lower()}": partial(_finished, why) for why in FINISH_REASONS},
    "finish_image_other": _image_other,
    "finish_continuation": _to_be_continued,
    "empty_content": partial(_empty, {}),
    "parts_null": partial(_empty, {"parts": None}),
    "role_only": partial(_empty, {"role": "model"}),
    "no_candidates": _no_candidates,
    "text_only": _text_only,
    "text_only_without_split": _text_only_without_split,
    "thoughts": _thoughts,
    "only_thoughts": _only_thoughts,
    "two_pictures": _two_pictures,
    "blocked_with_picture": _blocked_with_picture,
    "broken_base64": partial(_with_data, "this is *not* base64", "image/png"),
    "no_picture_bytes": partial(_with_data, base64.b64encode(b"no picture").decode(), "image/png"),
    "other_media": partial(_with_data, base64.b64encode(b"a film").decode(), "video/mp4"),
    "no_usage": partial(_without, "usageMetadata"),
    "no_split": partial(_without, "candidatesTokensDetails"),
    "split_of_nothing": partial(_split, []),
    "split_null": partial(_split, None),
    "split_of_text": partial(_split, [{"modality": "TEXT", "tokenCount": 20}]),
    "split_of_nulls": partial(_split, [{"modality": None, "tokenCount": None}]),
    "blocked_beside_a_candidate": _blocked_beside_a_candidate,
    "odd_facts": _odd_facts,
    "nested_without_end": partial(_whole, b"[" * 60_000),
    "not_json": partial(_whole, b"<html>all is well</html>"),
    "wrong_shape": partial(_whole, b'{"candidates": {"content": "a picture"}}'),
    "empty_body": partial(_whole, b""),
}

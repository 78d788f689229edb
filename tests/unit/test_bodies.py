"""Bodies have one meaning, and what is wrong with them is said without repeating them."""

from __future__ import annotations

import json
import time
import tracemalloc
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from fastapi import Request
from starlette.types import Message

from application.access import Caller
from interfaces.rest.bodies import MOST_SMALL_BYTES, parse, read_json, strict_json
from interfaces.rest.errors import (
    BodyTooLargeError,
    MalformedBodyError,
    MediaTypeError,
    ShapeError,
)
from interfaces.rest.provider_shapes import ProviderChange

SECRET = "a secret wish"


def body(**fields: Any) -> bytes:
    return json.dumps({"prompt": "a lighthouse", **fields}).encode()


def refused(**fields: Any) -> ShapeError:
    with pytest.raises(ShapeError) as caught:
        parse(body(**fields))
    return caught.value


def pointers(error: ShapeError) -> list[str | None]:
    return [mistake.pointer for mistake in error.mistakes]


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        b"{",
        b'{"prompt": "a", "prompt": "b"}',
        b'{"metadata": {"a": "1", "a": "2"}}',
        b'{"prompt": "caf\xe9"}',
        '{"prompt": "a"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"prompt": "a"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"seed": NaN}',
        b'{"seed": Infinity}',
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"prompt": "a"} trailing',
        b'{"prompt": "a\nb"}',
    ],
    ids=lambda malformed: repr(malformed[:20]),
)
def test_what_is_no_json_or_has_two_meanings_is_malformed(malformed: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        parse(malformed)


def test_where_the_json_breaks_is_told_without_repeating_it() -> None:
    with pytest.raises(MalformedBodyError) as caught:
        strict_json(f'{{"prompt": "{SECRET}"'.encode())

    assert "line 1, column 27" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"prompt": ""}, "#/prompt"),
        ({"prompt": " \n\t　"}, "#/prompt"),
        ({"prompt": "\u200b\u2060\ufeff \u00ad"}, "#/prompt"),
        ({"prompt": "x" * 40_000}, "#/prompt"),
        ({"prompt": "nul\x00byte"}, "#/prompt"),
        ({"prompt": "\ud800"}, "#/prompt"),
        ({"prompt": None}, "#/prompt"),
        ({"prompt": 7}, "#/prompt"),
        ({"prompt": ["a"]}, "#/prompt"),
        ({"negativePrompt": "nul\x00byte"}, "#/negativePrompt"),
        ({"count": 0}, "#/count"),
        ({"count": 11}, "#/count"),
        ({"count": 1000}, "#/count"),
        ({"count": "1"}, "#/count"),
        ({"count": True}, "#/count"),
        ({"size": "0x0"}, "#/size"),
        ({"size": "99999x99999"}, "#/size"),
        ({"size": "1024"}, "#/size"),
        ({"size": "15x16"}, "#/size"),
        ({"size": "4097x16"}, "#/size"),
        ({"size": "1024X1024"}, "#/size"),
        ({"size": "1024x1024\n"}, "#/size"),
        ({"size": "١٦x١٦"}, "#/size"),
        ({"aspectRatio": "16/9"}, "#/aspectRatio"),
        ({"aspectRatio": "0:1"}, "#/aspectRatio"),
        ({"format": "gif"}, "#/format"),
        ({"seed": -1}, "#/seed"),
        ({"seed": 1.5}, "#/seed"),
        ({"seed": 1e300}, "#/seed"),
        ({"metadata": {"nul\x00": "a"}}, "#/metadata/nul%3F"),
        ({"onUnknown": "hope"}, "#/onUnknown"),
        ({"model": ""}, "#/model"),
        ({"referenceImages": "aGVsbG8="}, "#/referenceImages"),
        ({"referenceImages": [7]}, "#/referenceImages/0"),
        ({"mask": ""}, "#/mask"),
        ({"mask": ["aGVsbG8="]}, "#/mask"),
        ({"referenceImages": ["aGVsbG8="] * 17}, "#/referenceImages"),
        ({"metadata": {"a": 1}}, "#/metadata/a"),
        ({"metadata": {"x" * 41: "1"}}, f"#/metadata/{'x' * 41}"),
        ({"metadata": {"a/b~c ü": "x" * 501}}, "#/metadata/a~1b~0c%20%C3%BC"),
        ({"metadata": {f"{n}": "" for n in range(51)}}, "#/metadata"),
        ({"metadata": []}, "#/metadata"),
        ({"negative_prompt": "snake"}, "#/negative_prompt"),
        ({"surprise": 1}, "#/surprise"),
        ({"\ud800": 1}, "#"),
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_a_wrong_field_is_named_by_its_pointer(fields: dict[str, Any], pointer: str) -> None:
    assert pointers(refused(**fields)) == [pointer]


@pytest.mark.parametrize("value", [b"[]", b'"a lighthouse"', b"7", b"null", b"true"])
def test_a_body_must_be_an_object(value: bytes) -> None:
    with pytest.raises(ShapeError) as caught:
        parse(value)

    assert pointers(caught.value) == ["#"]


def test_all_mistakes_are_told_at_once() -> None:
    assert pointers(refused(count=0, size="big")) == ["#/size", "#/count"]


def test_a_thousand_mistakes_are_not() -> None:
    assert len(refused(**{f"field{n}": n for n in range(1000)}).mistakes) == 20


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prompt": "x" * 40_000}, "prompt has 40000 characters; the most is 32000."),
        ({"prompt": ""}, "prompt is too short; the least is 1 character."),
        ({"prompt": 7}, "prompt must be a string."),
        ({"prompt": "\u200b"}, "prompt must say something: it is empty or blank."),
        ({"size": SECRET}, "size is not as it must be: it must look like 1024x1024."),
        ({"aspectRatio": SECRET}, "aspectRatio is not as it must be: it must look like 16:9."),
        ({"format": SECRET}, "format must be 'png', 'jpeg' or 'webp'."),
        ({"count": 11}, "count must be 10 or less."),
        ({"count": "1"}, "count must be a whole number."),
        ({SECRET: 1}, "There is no such field. Leave it out."),
        ({"metadata": {SECRET: "x" * 501}}, "It has 501 characters; the most is 500."),
        ({"metadata": {f"{n}": "" for n in range(51)}}, "metadata has 51 keys; the most is 50."),
        ({"metadata": []}, "metadata must be an object."),
        ({"referenceImages": [""] * 17}, "referenceImages has 17 images; the most is 16."),
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_a_mistake_is_told_with_what_would_be_right(fields: dict[str, Any], sentence: str) -> None:
    assert [mistake.detail for mistake in refused(**fields).mistakes] == [sentence]


def test_a_missing_prompt_is_asked_for() -> None:
    with pytest.raises(ShapeError) as caught:
        parse(b"{}")

    assert [mistake.detail for mistake in caught.value.mistakes] == ["prompt is missing. Send it."]


def test_a_byte_order_mark_is_called_one() -> None:
    with pytest.raises(MalformedBodyError, match="byte order mark"):
        parse(b'\xef\xbb\xbf{"prompt": "a"}')


def test_size_and_aspect_ratio_exclude_each_other() -> None:
    assert pointers(refused(size="16x16", aspectRatio="1:1")) == ["#/size", "#/aspectRatio"]


COSTLY = {
    "unknown fields": body(**{f"f{n}": 1 for n in range(90_000)}),
    "more unknown fields": body(**{f"f{n}": 1 for n in range(760_000)}),
    "metadata": body(metadata={f"{n}": 1 for n in range(90_000)}),
    "references": body(referenceImages=[1] * 90_000),
    "nested references": b'{"referenceImages":' + b"[[]," * 2_000_000,
    "one deep value": b'{"metadata":' + b'{"a":' * 90_000 + b"}" * 90_000 + b"}",
    "junk for text": body(prompt=[[[]]] * 30_000, size=[{}] * 20_000),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_body_is_refused_cheaply(name: str) -> None:
    sent, began = COSTLY[name], time.thread_time()
    tracemalloc.start()

    with pytest.raises((MalformedBodyError, ShapeError)):
        parse(sent)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - 2 * len(sent) < 40 * 2**20
    assert time.thread_time() - began < 5.0, "more than in proportion to its size"


def test_texts_of_nothing_but_commas_are_taken() -> None:
    metadata = {f"{n}{',' * 38}": "," * 500 for n in range(10, 60)}
    commas = "," * 32_000

    assert parse(body(prompt=commas, negativePrompt=commas, metadata=metadata)).prompt == commas


def test_a_mistake_never_repeats_what_was_sent() -> None:
    error = refused(prompt=SECRET + "\x00", size=SECRET, count=SECRET, metadata={"a": [SECRET]})

    assert len(error.mistakes) == 4
    assert SECRET not in repr(error.mistakes) + str(error)
    assert error.__cause__ is None


def test_what_is_left_out_is_left_to_the_provider() -> None:
    asked = parse(body())

    assert (asked.count, asked.size, asked.on_unknown) == (1, None, "repeat")


def test_to_json_two_point_nought_is_two() -> None:
    asked = parse(body(count=2.0, seed=7e2, deadlineSeconds=60.0))

    assert (asked.count, asked.seed, asked.deadline_seconds) == (2, 700, 60)


@pytest.mark.parametrize("size", ["16x16", "4096x4096", "1024x768"])
def test_sizes_are_pixels(size: str) -> None:
    assert parse(body(size=size)).size == size


# --- small ones ----------------------------------------------------------------------------------


def sent(*parts: bytes, content_type: str = "application/json", is_all: bool = True) -> Request:
    """A request whose body comes in these parts; nothing may be asked for behind the last."""
    coming = list(parts)

    async def receive() -> Message:
        part = coming.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(coming) or not is_all}

    headers = [(b"content-type", content_type.encode())]
    app = SimpleNamespace(state=SimpleNamespace(container=NobodyLeft()))
    state = {"caller": Caller(UUID(int=1), "user", frozenset())}
    return Request({"type": "http", "headers": headers, "app": app, "state": state}, receive)


class NobodyLeft:
    """A container whose access lets everybody in again."""

    def access(self) -> NobodyLeft:
        return self

    async def let_in_again(self, caller: Caller) -> None:
        """As they were."""


async def test_a_small_body_has_the_shape_that_is_asked_for() -> None:
    request = sent(b'{"enabled"', b": true}", content_type="application/json; charset=utf-8")

    assert (await read_json(request, ProviderChange)).enabled is True


async def test_a_small_body_that_is_no_json_is_refused() -> None:
    with pytest.raises(MediaTypeError):
        await read_json(sent(b"enabled=true", content_type="text/plain"), ProviderChange)


async def test_a_wrong_field_of_a_small_body_is_named() -> None:
    with pytest.raises(ShapeError) as caught:
        await read_json(sent(b'{"place": 0, "surprise": 1}'), ProviderChange)

    told = {mistake.pointer: mistake.detail for mistake in caught.value.mistakes}
    assert told == {
        "#/place": "place must be 1 or more.",
        "#/surprise": "There is no such field. Leave it out.",
    }


async def test_a_body_that_is_to_be_small_is_read_as_far_as_its_bound() -> None:
    with pytest.raises(BodyTooLargeError, match=f"larger than {MOST_SMALL_BYTES} bytes"):
        await read_json(sent(b" " * MOST_SMALL_BYTES, b" ", is_all=False), ProviderChange)


async def test_a_body_up_to_the_bound_is_taken() -> None:
    body = b'{"enabled": true}'.ljust(MOST_SMALL_BYTES)

    assert (await read_json(sent(body), ProviderChange)).enabled is True

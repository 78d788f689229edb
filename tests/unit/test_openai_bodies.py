"""What OpenAI's clients may send, and what they are told about the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfaces.openai.bodies import _checked, _of_form
from interfaces.openai.errors import ParameterError
from interfaces.openai.shapes import NOT_OFFERED, EditRequest, ImageRequest
from interfaces.rest.errors import MalformedBodyError, RequestError

NAMES = st.sampled_from([*EditRequest.model_fields, *NOT_OFFERED]) | st.text(max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["auto", "high", "png", "url", "1024x1024", "data:image/png;base64,AAAA"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(NAMES, inside, max_size=3),
    max_leaves=6,
)
PARTS = st.lists(
    st.tuples(
        NAMES | st.sampled_from(["image", "image[]", "mask", "svg[model]"]), st.text() | st.binary()
    ),
    max_size=6,
)


def what_is_wrong(read: Callable[[], object]) -> RequestError | None:
    try:
        read()
    except (ParameterError, MalformedBodyError) as error:
        return error
    return None


@given(st.dictionaries(NAMES, ANYTHING, max_size=6) | ANYTHING)
def test_whatever_comes_as_json_is_taken_or_named(sent: Any) -> None:
    for shape in (ImageRequest, EditRequest):
        wrong = what_is_wrong(partial(_checked, shape, sent))
        assert wrong is None or wrong.mistakes[0].detail.endswith(".")


@given(PARTS)
def test_whatever_comes_as_a_form_is_taken_or_named(parts: list[tuple[str, str | bytes]]) -> None:
    wrong = what_is_wrong(partial(_of_form, parts))
    assert wrong is None or str(wrong).endswith(".")


def test_a_form_says_what_json_would() -> None:
    asked = _of_form(
        [
            ("prompt", "a fox"),
            ("n", "2"),
            ("stream", "true"),
            ("output_compression", "40"),
            ("partial_images", ""),
            ("image[]", b"one"),
            ("image[]", b"two"),
            ("mask", b"mask"),
        ]
    )

    assert asked.references == [b"one", b"two"]
    assert asked.mask == b"mask"
    assert (asked.fields.n, asked.fields.stream) == (2, True)
    assert (asked.fields.output_compression, asked.fields.partial_images) == (40, None)


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({"n": 1.5}, "`n` must be a whole number."),
        ({"images": [{}, 7]}, "`images[1]` must be an object."),
        ({"images": [{"image_url": 7}]}, "`images[0].image_url` must be a string."),
        ({"stream": "yes"}, "`stream` must be true or false."),
        ({"prompt": None}, "`prompt` must be a string."),
    ],
)
def test_a_mistake_is_told_by_its_name(sent: dict[str, Any], detail: str) -> None:
    with pytest.raises(ParameterError) as refused:
        _checked(EditRequest, {"prompt": "a fox", **sent})

    assert refused.value.mistakes[0].detail == detail


def test_the_newer_name_of_an_end_user_wins_where_it_says_something() -> None:
    both = {"prompt": "a fox", "user": "old"}

    assert _checked(ImageRequest, {**both, "safety_identifier": "new"}).end_user == "new"
    assert _checked(ImageRequest, {**both, "safety_identifier": ""}).end_user == "old"
    assert _checked(ImageRequest, {"prompt": "a fox", "user": ""}).end_user is None


@pytest.mark.parametrize("again", ["prompt", "prompt[]", "prompt[0]"])
def test_a_name_that_comes_twice_is_refused_however_it_is_written(again: str) -> None:
    with pytest.raises(MalformedBodyError, match="twice"):
        _of_form([("prompt", "a fox"), (again, "a hare"), ("image", b"one")])

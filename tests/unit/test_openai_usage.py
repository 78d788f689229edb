"""Tokens as OpenAI tells them, whoever counted them."""

from __future__ import annotations

import pytest

from domain.generation import Call
from interfaces.openai.answers import usage_of


def counted(*usages: dict[str, int]) -> tuple[int, int, int, int, int]:
    calls = [Call(i, "p", "m", (i,), usage=usage) for i, usage in enumerate(usages, 1)]
    used = usage_of(calls)
    assert used.total_tokens == used.input_tokens + used.output_tokens
    given, made = used.input_tokens_details, used.output_tokens_details
    assert (given.text_tokens + given.image_tokens) == used.input_tokens
    assert (made.text_tokens + made.image_tokens) == used.output_tokens
    return (
        used.total_tokens,
        *(given.text_tokens, given.image_tokens),
        *(made.text_tokens, made.image_tokens),
    )


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"images": 3}, (0, 0, 0, 0, 0)),
        (
            {
                "text_input_tokens": 10,
                "image_input_tokens": 40,
                "text_output_tokens": 1,
                "image_output_tokens": 50,
            },
            (101, 10, 40, 1, 50),
        ),
        (
            {
                "promptTokenCount": 5,
                "candidatesTokenCount": 1300,
                "thoughtsTokenCount": 7,
                "candidatesTokensDetails.IMAGE": 1290,
            },
            (1312, 5, 0, 17, 1290),
        ),
        ({"promptTokenCount": 5, "candidatesTokensDetails.IMAGE": 1290}, (1295, 5, 0, 0, 1290)),
    ],
    ids=["none", "openai", "gemini", "gemini-without-their-sum"],
)
def test_tokens_are_told_apart(usage: dict[str, int], told: tuple[int, ...]) -> None:
    assert counted(usage) == told


def test_tokens_of_all_calls_are_added() -> None:
    assert counted({"text_input_tokens": 1}, {"promptTokenCount": 2}, {"images": 1})[0] == 3


def test_a_call_whose_sum_is_not_told_takes_nothing_from_others() -> None:
    told = {"candidatesTokenCount": 1300, "candidatesTokensDetails.IMAGE": 1290}
    untold = {"candidatesTokensDetails.IMAGE": 1290}

    assert counted(told, untold) == (2590, 0, 0, 10, 2580)

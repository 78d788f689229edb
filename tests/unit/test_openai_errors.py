"""One table says what every kind of problem is to OpenAI's clients."""

from __future__ import annotations

import pytest

from interfaces.openai.errors import (
    ERRORS,
    OF_IMAGE,
    OF_LIMIT,
    OF_RATE,
    OF_REQUEST,
    OF_SERVER,
    param,
)
from interfaces.rest import problem_types as kinds
from interfaces.rest.problem_types import PROBLEM_TYPES


def test_every_kind_of_problem_is_in_the_table() -> None:
    assert {kind.code for kind in PROBLEM_TYPES} == {kind.code for kind in ERRORS}


def test_what_is_ours_is_never_told_as_the_clients_and_the_other_way_round() -> None:
    for kind, row in ERRORS.items():
        assert (row.status >= 500) == (kind.status >= 500) == (row.type == OF_SERVER), kind.code
        assert row.type in (OF_REQUEST, OF_IMAGE, OF_LIMIT, OF_RATE, OF_SERVER)


def test_what_has_ended_is_not_sent_again_by_an_sdk() -> None:
    final = (
        *(kinds.PROVIDER_FAILED, kinds.DEADLINE_PASSED, kinds.GENERATION_CANCELLED),
        *(kinds.MODERATION_REFUSED, kinds.QUOTA_EXCEEDED),
    )

    assert not any(ERRORS[kind].again for kind in final)
    assert ERRORS[kinds.BUSY].again
    assert ERRORS[kinds.TOO_MANY_IN_FLIGHT].again


@pytest.mark.parametrize(
    ("pointer", "name"),
    [
        ("", None),
        ("#", None),
        ("#/size", "size"),
        ("#/images/0/image_url", "images[0].image_url"),
        ("#/referenceImages/3", "image[3]"),
        ("#/a%20b", "a b"),
    ],
)
def test_a_field_is_named_as_openai_names_it(pointer: str, name: str | None) -> None:
    assert param(pointer) == name

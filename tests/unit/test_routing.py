"""Which provider is asked, and why none can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from application.routing import NoProviderError, Router
from domain.image import ImageSpec
from tests.fakes_images import FAKE_CAPABILITIES, FakeProvider

FIRST = FakeProvider(name="first", capabilities=replace(FAKE_CAPABILITIES, seed=False))
SECOND = FakeProvider(name="second", capabilities=replace(FAKE_CAPABILITIES, models=("m-1", "m-2")))
ROUTER = Router({"first": FIRST, "second": SECOND})


def chosen(*, references: int = 0, negative_prompt: bool = False, **spec: Any) -> tuple[str, str]:
    route = ROUTER.route(ImageSpec(**spec), references=references, negative_prompt=negative_prompt)
    return route.provider.name, route.model


def test_the_first_in_the_order_of_preference_that_can_do_it_is_asked() -> None:
    assert chosen() == ("first", "fake-1")
    assert chosen(seed=7) == ("second", "m-1")
    assert chosen(model="m-2") == ("second", "m-2")


def test_the_provider_asked_for_is_the_one() -> None:
    assert chosen(provider="second") == ("second", "m-1")


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"provider": "third"}, "Choose one of first, second"),
        ({"provider": "first", "seed": 7}, "first takes no seed"),
        ({"model": "dall-e-3"}, "first has no model 'dall-e-3', choose one of fake-1; second"),
        ({"format": "webp"}, "makes no webp, choose one of png"),
        ({"quality": "zzz"}, "has no quality 'zzz', choose one of fine"),
        ({"size": "4096x4096"}, "choose a smaller size"),
        ({"aspect_ratio": "5:1"}, "makes nothing longer than 4:1"),
        ({"aspect_ratio": "1:5"}, "makes nothing longer than 4:1"),
        ({"references": 5}, "takes at most 4 reference images"),
    ],
)
def test_what_nobody_can_do_is_refused_with_the_reason(
    wanted: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NoProviderError, match=sentence):
        chosen(**wanted)


def test_without_any_provider_it_says_so() -> None:
    with pytest.raises(NoProviderError, match="no provider is configured"):
        Router({}).route(ImageSpec(), references=0, negative_prompt=False)

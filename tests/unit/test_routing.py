"""Which providers can be asked, in which order, and why none can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from application.fitting import Wanted
from application.routing import NoProviderError, Router, Routes
from domain.generation import Wish
from domain.image import ImageSpec
from infrastructure.always_open import AlwaysOpen
from tests.fakes_images import FAKE_CAPABILITIES, FAKE_MODEL, FakeProvider, offering

FIRST = FakeProvider(name="first", capabilities=offering(seed=False))
SECOND = FakeProvider(
    name="second",
    capabilities=replace(
        FAKE_CAPABILITIES,
        models=(replace(FAKE_MODEL, name="m-1"), replace(FAKE_MODEL, name="m-2")),
    ),
)
PROVIDERS = {"first": FIRST, "second": SECOND}


class Reordered(AlwaysOpen):
    """An administrator wants them in this order, and those not named not at all."""

    def __init__(self, *names: str) -> None:
        self._names = names

    async def order(self, names: Sequence[str]) -> Sequence[str]:
        return [name for name in self._names if name in names]


async def routed(
    *, gate: AlwaysOpen | None = None, references: int = 0, mask: bool = False, **spec: Any
) -> Routes:
    router = Router(PROVIDERS, gate or AlwaysOpen())
    return await router.routes(
        Wanted(ImageSpec(**spec), Wish(prompt="a cat"), references=references, mask=mask)
    )


async def chosen(**wanted: Any) -> list[tuple[str, str]]:
    routes = await routed(**wanted)
    return [(route.provider.name, route.model.name) for route in routes.possible]


async def test_those_that_can_do_it_are_asked_in_the_order_of_preference() -> None:
    assert await chosen() == [("first", "fake-1"), ("second", "m-1")]
    assert await chosen(seed=7) == [("second", "m-1")]
    assert await chosen(model="m-2") == [("second", "m-2")]


async def test_where_no_model_is_asked_for_the_first_that_can_do_it_is_taken() -> None:
    unseeded = replace(FAKE_MODEL, name="m-0", seed=False)
    models = (unseeded, *SECOND.capabilities.models)
    provider = FakeProvider(capabilities=replace(FAKE_CAPABILITIES, models=models))
    router = Router({"fake": provider}, AlwaysOpen())
    routes = await router.routes(Wanted(ImageSpec(seed=7), Wish(prompt="a cat")))
    assert [route.model.name for route in routes.possible] == ["m-1"]
    with pytest.raises(NoProviderError, match="takes no seed"):
        await router.routes(Wanted(ImageSpec(seed=7, model="m-0"), Wish(prompt="a cat")))


async def test_the_provider_asked_for_is_the_only_one() -> None:
    assert await chosen(provider="second") == [("second", "m-1")]


async def test_the_administrator_reorders_and_switches_off() -> None:
    assert await chosen(gate=Reordered("second", "first")) == [
        ("second", "m-1"),
        ("first", "fake-1"),
    ]
    routes = await routed(gate=Reordered("second"))
    assert [route.provider.name for route in routes.possible] == ["second"]
    assert routes.ways["first"] == "is switched off"


async def test_why_others_are_passed_over_is_said() -> None:
    assert (await routed(seed=7)).ways["first"] == "takes no seed, leave it out"


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"provider": "third"}, "Choose one of first, second"),
        ({"provider": "first", "seed": 7}, "first takes no seed"),
        ({"provider": "first", "gate": Reordered("second")}, "first is switched off"),
        ({"model": "dall-e-3"}, "first has no model 'dall-e-3', choose one of fake-1; second"),
        ({"quality": "zzz"}, "has no quality 'zzz', choose one of fine"),
        ({"size": "4096x4096"}, "at most 4000000 pixels, choose a smaller size"),
        ({"aspect_ratio": "5:1"}, "makes nothing longer than 4:1"),
        ({"aspect_ratio": "1:5"}, "makes nothing longer than 4:1"),
        ({"references": 5}, "takes at most 4 reference images"),
        ({"references": 1, "mask": True}, "takes no mask"),
        ({"background": "transparent"}, "paints no transparent background"),
    ],
)
async def test_what_nobody_can_do_is_refused_with_the_reason(
    wanted: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NoProviderError, match=sentence):
        await routed(**wanted)


async def test_without_any_provider_it_says_so() -> None:
    with pytest.raises(NoProviderError, match="no provider is configured"):
        await Router({}, AlwaysOpen()).routes(Wanted(ImageSpec(), Wish(prompt="a cat")))

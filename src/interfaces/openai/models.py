"""The models of every provider that is on, under their own names."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response

from infrastructure.container import Container
from interfaces.openai.errors import PREFIX, ModelNotFoundError, ParameterError
from interfaces.openai.shapes import Model, ModelList
from interfaces.rest.answers import json_answer
from interfaces.rest.context import container_of
from interfaces.rest.shapes import shortened

CREATED = 1764028800  # 2025-11-25: no provider tells when a model was made, and nobody sorts by it

RETIRED = frozenset({"dall-e-2", "dall-e-3", "gpt-image-1"})
"""OpenAI's own, which nobody can mean any more; clients have them built in."""

router = APIRouter(prefix=PREFIX, include_in_schema=False)


@router.get("/models")
async def models(request: Request) -> Response:
    """All of them; the first provider in the administrator's order has a name that several have."""
    return json_answer(ModelList(data=tuple(_offered(container_of(request)))))


@router.get("/models/{model:path}")
async def model(request: Request, model: str) -> Response:
    """One of them."""
    for offered in _offered(container_of(request)):
        if offered.id == model:
            return json_answer(offered)
    detail = f"There is no model `{shortened(model)}` here. GET /v1/models lists those there are."
    raise ModelNotFoundError("model", detail, code="model_not_found")


def meant(container: Container, name: str | None) -> str | None:
    """The model to ask for; None leaves the choice to us. Raises ParameterError.

    One of a provider that is off is meant all the same: what was asked for before is still given,
    and whoever asks anew is told why it is not made.
    """
    providers = container.configured_providers().values()
    if name is None or any(one.capabilities.model(name) for one in providers):
        return name
    if name in RETIRED:
        return None
    names = [offered.id for offered in _offered(container)]
    raise ParameterError(
        "model",
        f"There is no model `{shortened(name)}` here. "
        f"Choose one of {', '.join(names)}, or leave it out to have one chosen.",
    )


def _offered(container: Container) -> Iterator[Model]:
    seen: set[str] = set()
    providers = container.configured_providers()
    for provider in map(providers.__getitem__, container.switches().order(tuple(providers))):
        for offered in provider.capabilities.models:
            if offered.name not in seen:
                seen.add(offered.name)
                yield Model(id=offered.name, created=CREATED, owned_by=provider.name)

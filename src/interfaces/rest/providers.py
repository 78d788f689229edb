"""Who makes the pictures: told to everybody, switched and reordered by administrators."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from application.ports.health import Circuit, Health
from application.ports.providers import Capabilities, Model
from application.providers import ProviderWish
from infrastructure.container import Container
from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import json_answer, resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.bodies import read_json
from interfaces.rest.context import container_of, key_of
from interfaces.rest.openapi import COMMAND, JSON_COMMAND, REPLAYED, json_body, problems
from interfaces.rest.provider_shapes import (
    CircuitShape,
    FreeSizesShape,
    ModelShape,
    ProviderChange,
    ProviderHealthShape,
    ProviderList,
    ProviderShape,
    ReferenceRulesShape,
)

router = APIRouter(prefix="/api/v1")

Name = Annotated[str, Path(description="The provider's name.", examples=["openai"])]
CHANGES: dict[str, Any] = {**COMMAND, **json_body(ProviderChange)}


@router.get(
    "/providers",
    tags=["providers"],
    operation_id="listProviders",
    summary="List the providers",
    responses={
        200: {"model": ProviderList},
        **problems(kinds.NOT_AUTHENTICATED, kinds.BUSY),
    },
)
async def providers(request: Request) -> Response:
    """In the order in which they are asked: what each can do, what it costs, how it is."""
    shape = ProviderList(items=await _shapes(container_of(request)))
    return resource(request, shape)


@router.post(
    "/admin/providers/{name}",
    tags=["admin"],
    operation_id="changeProvider",
    summary="Switch a provider on or off, or reorder it",
    openapi_extra=CHANGES,
    responses={
        200: {
            "model": ProviderShape,
            "description": "It is as you wanted it",
            "headers": REPLAYED,
        },
        **problems(
            *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND),
            *JSON_COMMAND,
        ),
    },
)
async def change(request: Request, caller: Authenticated, name: Name) -> Response:
    """Effective at once, in all processes. A call that is under way goes on.

    Requests that only a provider could do that is switched off are refused; those that were
    accepted wait until it is switched on again, or for their deadline.
    """
    key = key_of(request)
    asked, container = await read_json(request, ProviderChange), container_of(request)
    repeated = await container.provider_changes().change(
        name,
        ProviderWish(enabled=asked.enabled, place=asked.place),
        by=caller.user_id,
        idempotency_key=key,
    )
    (changed,) = [shape for shape in await _shapes(container) if shape.name == name]
    return json_answer(changed, headers={"Idempotent-Replayed": "true"} if repeated else {})


async def _shapes(container: Container) -> tuple[ProviderShape, ...]:
    configured, switches = container.configured_providers(), container.switches()
    names = switches.arranged(tuple(configured))
    health = await container.gate().health(names)
    return tuple(
        _shape(name, configured[name].capabilities, health[name], switches.is_on(name), place)
        for place, name in enumerate(names, start=1)
    )


def _shape(
    name: str, can: Capabilities, health: Health, enabled: bool, place: int
) -> ProviderShape:
    return ProviderShape(
        name=name,
        enabled=enabled,
        place=place,
        health=ProviderHealthShape(**vars(health.circuit), calls_under_way=health.calls_under_way),
        repeat_costs=can.repeat_costs,
        price_list=can.price_list,
        currency=can.currency,
        models=tuple(_model(model, health.models.get(model.name)) for model in can.models),
    )


def _model(model: Model, circuit: Circuit | None) -> ModelShape:
    sizes, rules = model.free_sizes, model.references
    told = {
        **vars(model),
        "free_sizes": FreeSizesShape(**vars(sizes)) if sizes else None,
        "references": ReferenceRulesShape(**vars(rules)) if rules else None,
    }
    return ModelShape(**told, health=CircuitShape(**vars(circuit or Circuit())))

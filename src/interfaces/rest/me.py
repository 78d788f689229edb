"""What concerns the caller alone."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from application.fitting import Wanted
from domain.generation import Wish
from domain.image import ImageSpec
from domain.user import Preferences, end_user_id
from interfaces.rest import problem_types as kinds
from interfaces.rest.account_shapes import MeShape, PreferencesShape
from interfaces.rest.answers import json_answer, replayed, resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.bodies import read_json, refuse_two_shapes
from interfaces.rest.context import container_of, key_of
from interfaces.rest.fields import EndUser
from interfaces.rest.openapi import COMMAND, JSON_COMMAND, REPLAYED, json_body, problems
from interfaces.rest.people import of_user
from interfaces.rest.rate_limit import rate_limit
from interfaces.rest.representation import of_allowances
from interfaces.rest.shapes import QuotaShape

router = APIRouter(prefix="/api/v1/me", tags=["me"])

PREFER: dict[str, Any] = {**COMMAND, **json_body(PreferencesShape)}


@router.get(
    "",
    operation_id="getMe",
    summary="Who you are here",
    responses={200: {"model": MeShape}, **problems(kinds.NOT_AUTHENTICATED, kinds.BUSY)},
)
async def me(request: Request, caller: Authenticated) -> Response:
    """You, what you prefer, and what the key or login that you showed lets you do."""
    user = await container_of(request).people().user(caller.user_id)
    shape = MeShape(
        **dict(of_user(user)),
        preferences=PreferencesShape.model_construct(**dict(user.preferences)),
        scopes=tuple(sorted(caller.scopes)),
        api_key_id=caller.api_key_id,
        session_id=caller.session_id,
    )
    return resource(request, shape)


@router.put(
    "/preferences",
    operation_id="setPreferences",
    summary="Say what your requests ask for where they say nothing",
    openapi_extra=PREFER,
    responses={
        200: {
            "model": PreferencesShape,
            "description": "They are as you wanted",
            "headers": REPLAYED,
        },
        **problems(
            *(kinds.NOT_AUTHENTICATED, kinds.NO_PROVIDER),
            *JSON_COMMAND,
        ),
    },
)
async def prefer(request: Request, caller: Authenticated) -> Response:
    """All of them at once: what is left out is no preference. Effective within a second.

    A request that names a provider or model is not given another one's model or quality, and one
    that says what shape a picture has is not given another shape.
    """
    key = key_of(request)
    asked, container = await read_json(request, PreferencesShape), container_of(request)
    refuse_two_shapes(asked)
    preferences = Preferences(**dict(asked))
    await container.router().routes(Wanted(preferences.fill(ImageSpec()), Wish(prompt="-")))
    repeated = await container.people().prefer(
        caller.user_id, preferences, by=caller.user_id, idempotency_key=key
    )
    container.access().look_again(caller.user_id)
    return json_answer(asked, headers=replayed(repeated))


@router.get(
    "/quota",
    operation_id="getQuota",
    summary="What you have used, and when it resets",
    responses={
        200: {"model": QuotaShape},
        **problems(kinds.NOT_AUTHENTICATED, kinds.INVALID_REQUEST, kinds.BUSY),
    },
)
async def quota(
    request: Request,
    caller: Authenticated,
    end_user: Annotated[
        EndUser | None,
        Query(alias="endUser", description="One of your users: what they have used comes too."),
    ] = None,
) -> Response:
    """A picture is a unit; windows are days and months in UTC."""
    container = container_of(request)
    now = container.store().now()
    allowances = await container.quota().of(
        caller.user_id,
        now,
        end_user_id=None if end_user is None else end_user_id(caller.user_id, end_user),
    )
    return resource(request, of_allowances(allowances), rate_limit(allowances, now))

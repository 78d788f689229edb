"""What every route needs, in one table: no application is made with a route that is not in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import Request
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from application.access import Caller
from domain.api_key import Scope
from interfaces.rest.authentication import recognise
from interfaces.rest.context import address_of, caller_of, container_of
from interfaces.rest.cross_site import refuse_other_sites
from interfaces.rest.docs import SCALAR
from interfaces.rest.errors import NotAllowedError, NotInPersonError


@dataclass(frozen=True)
class Need:
    """What a caller needs: one of `scopes`, or to be there in person, not by a key.

    Where nobody is needed it may matter all the same who asks (`asks_who`); and where people log
    in, how often they do from one address.
    """

    scopes: frozenset[Scope] = field(default=frozenset())
    in_person: bool = False
    asks_who: bool = False
    limited_by_address: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether anybody may ask."""
        return not self.scopes and not self.in_person

    def refuse_without(self, caller: Caller) -> None:
        """Raises NotAllowedError, NotInPersonError."""
        if self.in_person and not caller.is_in_person:
            raise NotInPersonError
        if self.scopes and not self.scopes & caller.scopes:
            raise NotAllowedError(self.scopes, role=caller.role)


ANYBODY = Need()
WHOEVER = Need(asks_who=True)
LOGIN = Need(asks_who=True, limited_by_address=True)
GENERATE = Need(frozenset({"generate"}))
READ = Need(frozenset({"read"}))
READ_OR_EVENTS = Need(frozenset({"read", "events"}))
EVENTS = Need(frozenset({"events"}))
ADMIN = Need(frozenset({"admin"}))
IN_PERSON = Need(in_person=True)

NEEDS: Mapping[str, Need] = {
    "POST /api/v1/generations": GENERATE,
    "POST /api/v1/generate-image": GENERATE,
    "POST /api/v1/generations/{id}/cancel": GENERATE,
    "POST /api/v1/generations/{id}/retry": GENERATE,
    "DELETE /api/v1/generations/{id}": GENERATE,
    "GET /api/v1/generations": READ,
    "GET /api/v1/generations/{id}": READ_OR_EVENTS,
    "GET /api/v1/generations/{id}/events": READ_OR_EVENTS,
    "GET /api/v1/generations/{id}/deliveries": EVENTS,
    "POST /api/v1/generations/{id}/deliveries/{deliveryId}/resend": EVENTS,
    "GET /api/v1/jobs/{id}": READ,
    "GET /references/{user}/{name}": READ,
    "GET /images/{generation}/{name}": ANYBODY,
    "GET /api/v1/providers": READ,
    "GET /api/v1/me": READ_OR_EVENTS,
    "GET /api/v1/me/quota": READ,
    "PUT /api/v1/me/preferences": IN_PERSON,
    "POST /api/v1/me/keys": IN_PERSON,
    "GET /api/v1/me/keys": IN_PERSON,
    "DELETE /api/v1/me/keys/{id}": IN_PERSON,
    "POST /api/v1/webhooks": EVENTS,
    "GET /api/v1/webhooks": EVENTS,
    "GET /api/v1/webhooks/{id}": EVENTS,
    "PATCH /api/v1/webhooks/{id}": EVENTS,
    "DELETE /api/v1/webhooks/{id}": EVENTS,
    "POST /api/v1/webhooks/{id}/rotate-secret": EVENTS,
    "POST /api/v1/webhooks/{id}/test": EVENTS,
    "GET /api/v1/webhooks/{id}/deliveries": EVENTS,
    "POST /api/v1/webhooks/{id}/deliveries/{deliveryId}/resend": EVENTS,
    "GET /api/v1/me/webhook-secret": EVENTS,
    "POST /api/v1/me/webhook-secret/rotate": EVENTS,
    "GET /api/v1/admin/users": ADMIN,
    "GET /api/v1/admin/users/{id}": ADMIN,
    "PATCH /api/v1/admin/users/{id}": ADMIN,
    "GET /api/v1/admin/users/{id}/quota": ADMIN,
    "PUT /api/v1/admin/users/{id}/quota": ADMIN,
    "GET /api/v1/admin/users/{id}/events": ADMIN,
    "POST /api/v1/admin/users/{id}/keys": ADMIN,
    "GET /api/v1/admin/users/{id}/keys": ADMIN,
    "DELETE /api/v1/admin/keys/{id}": ADMIN,
    "POST /api/v1/admin/providers/{name}": ADMIN,
    "POST /v1/images/generations": GENERATE,
    "POST /v1/images/edits": GENERATE,
    "GET /v1/models": READ,
    "GET /v1/models/{model:path}": READ,
    "GET /api/v1/me/sessions": IN_PERSON,
    "DELETE /api/v1/me/sessions": IN_PERSON,
    "DELETE /api/v1/me/sessions/{id}": IN_PERSON,
    "DELETE /api/v1/admin/users/{id}/sessions": ADMIN,
    "GET /auth": WHOEVER,
    "GET /auth/login": LOGIN,
    "GET /auth/callback": LOGIN,
    "GET /auth/link": LOGIN,
    "POST /auth/link": LOGIN,
    "POST /auth/logout": WHOEVER,  # which ends the session that it comes with
    "GET /problems": ANYBODY,
    "GET /problems/{code}": ANYBODY,
    "GET /livez": ANYBODY,
    "GET /readyz": ANYBODY,
    "GET /": ANYBODY,
    "GET /docs": ANYBODY,
    "GET /docs/docs.js": ANYBODY,
    "GET /docs/icon.svg": ANYBODY,
    f"GET /docs/{SCALAR}": ANYBODY,
    "GET /openapi.json": ANYBODY,
}
"""Of `METHOD path`; what answers GET answers HEAD."""


class NeedsError(Exception):
    """The table and the routes are not of the same mind."""


def refuse_gaps(routes: Sequence[BaseRoute]) -> None:
    """Raises NeedsError for a route that is missing in the table, and a row without a route."""
    served = set(_names(routes))
    if missing := sorted(served - NEEDS.keys()):
        raise NeedsError(f"Say in {__name__} what these routes need: {', '.join(missing)}")
    if left := sorted(NEEDS.keys() - served):
        raise NeedsError(f"{__name__} speaks of routes that there are not: {', '.join(left)}")


def _names(routes: Sequence[BaseRoute]) -> Iterator[str]:
    for route in iter_route_contexts(routes):
        for method in sorted({"GET" if m == "HEAD" else m for m in route.methods or {"*"}}):
            yield f"{method} {route.path}"


async def admitted(request: Request) -> None:
    """What stands before every route.

    Raises NotAuthenticatedError, SessionOverError, KeyRefusedError, SuspendedError,
    NotAllowedError, NotInPersonError, OtherSiteError, RateLimitedError, StoreUnavailableError.
    """
    need, limits = _need(request), container_of(request).rate_limits()
    if need.limited_by_address:
        request.state.standings = await limits.admit_login(address_of(request))
    if need.asks_who or not need.is_nothing:
        await recognise(request)
    if need.is_nothing:
        return
    caller = caller_of(request)
    refuse_other_sites(request, caller)
    request.state.standings = await limits.admit(caller)
    need.refuse_without(caller)


def _need(request: Request) -> Need:
    route: APIRoute = request.scope["route"]
    method = "GET" if request.method == "HEAD" else request.method
    return NEEDS[f"{method} {route.path}"]

"""Logins under way: only the browser that began one can end it, once, and soon.

The browser keeps them sealed in one cookie, so no process has to remember what was begun by
whoever never comes back, and any process can take up what another began.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from fastapi import Request, Response

from application.ports.identity import Attempt
from interfaces.rest.context import container_of
from interfaces.web.cookies import keep_attempts, kept_attempts

LASTS = timedelta(minutes=10)
MOST = 4  # at once, in several tabs: with the longest `next` they fit into a cookie


@dataclass(frozen=True)
class Begun:
    """An attempt, since when (in seconds), and where to go on after it."""

    attempt: Attempt
    at: int
    next: str


def begin(request: Request, response: Response, attempt: Attempt, *, next_: str) -> None:
    """Let the browser keep one more; the oldest gives way."""
    new = Begun(attempt, int(_now(request).timestamp()), next_)
    _keep(request, response, [new, *_kept(request)][:MOST])


def found(request: Request, state: str) -> Begun | None:
    """What this browser began with this state."""
    of_state = [one for one in _kept(request) if _is(one, state)]
    return of_state[0] if of_state else None


def end(request: Request, response: Response, state: str) -> None:
    """Let the browser forget it, however it ended: it is good for one try."""
    _keep(request, response, [one for one in _kept(request) if not _is(one, state)])


def _is(begun: Begun, state: str) -> bool:
    return compare_digest(begun.attempt.state.encode(), state.encode())


def _kept(request: Request) -> Sequence[Begun]:
    sealed = kept_attempts(request)
    content = container_of(request).login_seal().open(sealed) if sealed else None
    if content is None:
        return ()
    begun = [Begun(Attempt(secret), at, next_) for secret, at, next_ in json.loads(content)]
    now = _now(request).timestamp()
    return [one for one in begun if now - one.at < LASTS.total_seconds()]


def _keep(request: Request, response: Response, begun: Sequence[Begun]) -> None:
    content = json.dumps([[one.attempt.secret, one.at, one.next] for one in begun])
    sealed = container_of(request).login_seal().close(content.encode()) if begun else None
    keep_attempts(request, response, sealed, lasts=LASTS)


def _now(request: Request) -> datetime:
    return container_of(request).store().now()

"""What surrounds every request, as plain ASGI: nothing is buffered, nobody is cancelled."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from application.access import Caller
from domain.aggregate import caused_by
from interfaces.rest.body_budget import BodyBudget, Share
from interfaces.rest.bursts import with_bursts
from interfaces.rest.errors import (
    BodyTooLargeError,
    ProcessEndsError,
    RequestTimeoutError,
    TooMuchInFlightError,
)
from interfaces.rest.problems import problem
from interfaces.rest.security import SECURITY_HEADERS, Around, Header, for_no_page

log = logging.getLogger(__name__)

Answer = Callable[[Request, Exception], Awaitable[Response]]
"""Makes an answer of an exception."""

SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
CLIENT_WENT_AWAY = 499  # nginx's word for it; nobody receives it
STALLED_AFTER = 60.0  # seconds
LEAST_SPEED = 128 * 1024  # bytes a second: 1 Mbit/s, which takes 4 minutes for the largest body
AHEAD = 64 * 1024  # bytes that a connection may have read when nobody has asked yet


class Requests:
    """Knows each request by id, so that events and log lines carry it.

    Logs one line a request: never its query, headers or body. What nobody has caught is answered
    by `answer`. Whatever the answer, it has these `headers`, and what is `around` the application.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        answer: Answer = problem,
        headers: Sequence[Header] = SECURITY_HEADERS,
        around: Around = for_no_page,
    ) -> None:
        self._around, self._app = around, around(app)
        self._headers = headers
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id"))
        scope.setdefault("state", {}).update(request_id=request_id)
        with caused_by(actor="anonymous", correlation_id=request_id):
            await self._serve(scope, receive, send, request_id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        began = time.perf_counter()
        status: int | None = None
        added = [(b"x-request-id", request_id.encode()), *self._headers]

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *with_bursts(message["headers"], scope["state"].get("standings", ())),
                    *(header for header in added if header[0] not in present),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = CLIENT_WENT_AWAY
        except asyncio.CancelledError:  # the process ends, and has waited for long
            if status is not None:
                raise
            response = await self._answer(Request(scope), ProcessEndsError())
            await self._around(response)(scope, receive, send_with_headers)
        except Exception as error:
            log.exception("a request failed unexpectedly")
            if status is not None:
                raise
            response = await self._answer(Request(scope), error)
            await self._around(response)(scope, receive, send_with_headers)
        finally:
            _log_request(scope, status, time.perf_counter() - began)


class BodyLimit:
    """Refuses a body of more than `most` bytes, or one that comes too slowly.

    Nor may all bodies together be more than the budget: what has arrived counts, and a little
    ahead. Not Starlette's: its answers are plain text.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most: int,
        budget: BodyBudget | None = None,
        stalled_after: float = STALLED_AFTER,
    ) -> None:
        self._app = app
        self._most = most
        self._budget = budget or BodyBudget()
        self._stalled_after = stalled_after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = dict(scope["headers"]).get(b"content-length", b"")
        announced = int(told[:19]) if told.isdigit() else None
        share, sender = self._budget.share(), Sender(receive, self._stalled_after)
        complete = False

        async def receive_bounded() -> Message:
            nonlocal complete
            if sender.received == 0:  # nothing is held yet, and it is known who asks
                share.user_id = _user_of(scope)
            if announced is not None and announced > self._most:
                raise BodyTooLargeError(self._most)
            if complete:  # who asks what comes behind the body is done with it
                share.give_back()
                return await receive()
            ahead = sender.received + AHEAD
            share.grow_to(ahead if announced is None else min(ahead, announced))
            message = await sender.more(share)
            complete = not message.get("more_body", False)
            if sender.received > self._most:
                raise BodyTooLargeError(self._most)
            share.grow_to(sender.received)
            if complete:
                share.arrived()
            return message

        try:
            await self._app(scope, receive_bounded, send)
        finally:
            share.give_back()


class Sender:
    """Who sends a body: never silent for `stalled_after` seconds, and not slower than LEAST_SPEED.

    The first `stalled_after` seconds do not count, nor does the time in which nobody reads.
    """

    def __init__(self, receive: Receive, stalled_after: float) -> None:
        self._receive = receive
        self._stalled_after = stalled_after
        self._waited = 0.0
        self.received = 0

    async def more(self, share: Share) -> Message:
        """Raises RequestTimeoutError, and TooMuchInFlightError when it is given up for others."""
        left = self._stalled_after + self.received / LEAST_SPEED - self._waited
        began = time.monotonic()
        try:
            async with asyncio.timeout(min(left, self._stalled_after)) as waiting:
                share.waits(waiting)
                message = await self._receive()
        except TimeoutError:
            if share.is_refused:
                raise TooMuchInFlightError from None
            raise RequestTimeoutError(self._what_is_wrong(left)) from None
        finally:
            share.waits(None)
        self._waited += time.monotonic() - began
        self.received += len(message.get("body", b""))
        return message

    def _what_is_wrong(self, left: float) -> str:
        if left < self._stalled_after:
            return f"The body came at less than {LEAST_SPEED} bytes a second."
        return f"Nothing more of the body came within {self._stalled_after:g} seconds."


def _user_of(scope: Scope) -> UUID | None:
    """Whose body it is, once it is known who asks."""
    caller = scope.get("state", {}).get("caller")
    return caller.user_id if isinstance(caller, Caller) else None


def _request_id(sent: bytes | None) -> str:
    return sent.decode() if sent and SANE_REQUEST_ID.fullmatch(sent) else str(uuid4())


def _log_request(scope: Scope, status: int | None, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", None)
    code = scope["state"].get("problem")
    log.info(
        "request",
        extra={
            "method": scope["method"],
            "route": route or "none",
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            **({"problem": code} if code else {}),
        },
    )

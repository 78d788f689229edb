"""What all servers that speak somebody's protocol have in common: faults on demand, and a count.

Each is a Starlette application below `/`, with what tests steer it by below `/_control`:
`POST /_control {"next": ["rate_limited", "hang"], "always": null, "chances": {"drop": 0.1}}` says
what comes, `"only": "POST /object/.*"` to which requests; `GET /_control` says what was seen and
what it came to.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRIP_SECONDS = 0.2
TRANSPORT_FAULTS = ("refuse", "drop", "lose_answer", "truncate", "drip", "hang", "delay")
"""Connection cut: before the body is read; after it, before anything is done; after all was done
and billed; in the middle of the answer. Answer byte by byte; never; `delay` seconds late."""

Answer = Callable[[Request], Awaitable[Response]]


@dataclass
class Seen:
    """One request: what it asked for, never a key. `billed` says whether it is paid for.

    `connection` is the port at the other end of the one that it came over.
    """

    method: str
    path: str
    facts: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None
    status: int | None = None
    billed: bool = False
    connection: int = 0

    @property
    def request(self) -> str:
        """`METHOD /path`."""
        return f"{self.method} {self.path}"


@dataclass
class Switches:
    """Which fault the next requests meet: those told, then `always`, then one by chance.

    All requests, or `only` those whose `METHOD /path` this regular expression matches wholly.
    """

    faults: Sequence[str]
    next: deque[str] = field(default_factory=deque)
    always: str | None = None
    chances: dict[str, float] = field(default_factory=dict)
    only: str | None = None
    delay: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)

    def tell(self, **told: Any) -> None:
        """Change what comes; a fault that there is not is a mistake of the test."""
        named = [*told.get("next", ()), *told.get("chances", {}), told.get("always")]
        if unknown := [name for name in named if name and name not in self.faults]:
            raise ValueError(f"no such faults: {unknown}; there are {sorted(self.faults)}")
        for name, value in told.items():
            setattr(self, name, deque(value) if name == "next" else value)

    def draw(self, request: str) -> str | None:
        """What the next request meets, which is this `METHOD /path`."""
        if self.only is not None and not re.fullmatch(self.only, request):
            return None
        if self.next:
            return self.next.popleft() or None
        if self.always:
            return self.always
        drawn = self.chance.random()
        for name, chance in self.chances.items():
            drawn -= chance
            if drawn < 0:
                return name
        return None

    @property
    def billed(self) -> int:
        """How many requests are paid for."""
        return sum(seen.billed for seen in self.seen)


class ProtocolServer:
    """A protocol's routes, its `errors` and options, below one address."""

    def __init__(self, routes: Sequence[BaseRoute], *, errors: Sequence[str] = ()) -> None:
        self.switches = Switches((*TRANSPORT_FAULTS, *errors))
        control = Route("/_control", self._control, methods=["GET", "POST"])
        self.app = _Transport(Starlette(routes=[control, *routes]), self.switches)

    async def _control(self, request: Request) -> Response:
        if request.method == "POST":
            self.switches.tell(**await request.json())
        return JSONResponse(
            {"seen": [asdict(seen) for seen in self.switches.seen], "billed": self.switches.billed}
        )


def seen(request: Request) -> Seen:
    """What is known of this request: a route adds facts, and says that it is billed."""
    noted: Seen = request.scope["state"]["seen"]
    return noted


class _Transport:
    """Draws a fault for each request, and has it, as far as it is one of the connection."""

    def __init__(self, app: ASGIApp, switches: Switches) -> None:
        self._app, self._switches = app, switches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/_control":
            await self._app(scope, receive, send)
            return
        noted = Seen(scope["method"], scope["path"], connection=scope["client"][1])
        noted.fault = fault = self._switches.draw(noted.request)
        self._switches.seen.append(noted)
        if (known_as := dict(scope["headers"]).get(b"x-client-request-id")) is not None:
            noted.facts["client_request_id"] = known_as.decode()
        scope.setdefault("state", {})["seen"] = noted
        abort = send.__self__.transport.abort  # type: ignore[attr-defined]  # uvicorn's cycle
        if await self._is_cut_off(fault, receive):
            abort()
            return
        await self._app(scope, receive, _Answering(send, abort, fault, noted).send)
        if fault == "lose_answer":
            abort()

    async def _is_cut_off(self, fault: str | None, receive: Receive) -> bool:
        """Whether the connection is to be cut before anything is done."""
        if fault in ("drop", "hang"):
            while (await receive()).get("more_body"):
                pass
        if fault == "hang":
            await _until_it_hangs_up(receive)
        if fault == "delay" or self._switches.delay:
            await asyncio.sleep(self._switches.delay)
        return fault in ("refuse", "drop", "hang")


async def _until_it_hangs_up(receive: Receive) -> None:
    """Whoever waits for an answer ends it."""
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass
class _Answering:
    """Sends an answer as the fault lets it."""

    to: Send
    abort: Callable[[], None]
    fault: str | None
    noted: Seen

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.noted.status = message["status"]
        body = message.get("body", b"")
        if self.fault == "lose_answer":
            return
        if self.fault == "truncate" and body:
            await self._half(message, body)
        elif self.fault == "drip" and body:
            await self._drip(message, body)
        else:
            await self.to(message)

    async def _half(self, message: Message, body: bytes) -> None:
        await self.to({**message, "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0.05)  # let it leave before the connection is cut
        self.abort()

    async def _drip(self, message: Message, body: bytes) -> None:
        step = max(1, len(body) // 20)
        for at in range(0, len(body), step):
            await self.to({**message, "body": body[at : at + step], "more_body": True})
            await asyncio.sleep(DRIP_SECONDS)
        await self.to({**message, "body": b""})


@asynccontextmanager
async def serving(server: ProtocolServer, port: int = 0) -> AsyncIterator[str]:
    """Serve on loopback in this event loop; yields the address."""
    # It complains of every answer that is cut off, which are many here.
    loggers = [logging.getLogger(f"uvicorn.{name}") for name in ("error", "access", "asgi")]
    levels = [logger.level for logger in loggers]
    config = uvicorn.Config(
        server.app, "127.0.0.1", port, log_config=None, log_level="critical", lifespan="off"
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running._serve())
    while not running.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = running.force_exit = True
        await task
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

"""How a careful product's backend asks: again, with the same key, as long as `Retry-After` says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx

from tests.chaos.rounds.happened import Answer, Happened, now
from tests.chaos.rounds.stack import Stack

PATIENCE = 240.0  # seconds until a client gives a request up: longer than all faults take
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
NOTHING_WAS_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


class GivenUpError(Exception):
    """A request found no answer, however often it was sent."""


class Backend:
    """Speaks with both apis; every answer is noted."""

    def __init__(self, happened: Happened, clients: tuple[httpx.AsyncClient, ...]) -> None:
        self._happened, self.clients = happened, clients

    async def ask(
        self,
        order: int,
        method: str,
        path: str,
        *,
        via: int,
        key: str | None = None,
        may_repeat: bool = True,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> httpx.Response | None:
        """The first answer that is one; None where it must not be sent again to hear it."""
        sent_headers = {**(headers or {}), **({"Idempotency-Key": f'"{key}"'} if key else {})}
        lost = 0
        give_up_at = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < give_up_at:
            sent = now()
            try:
                response = await self.clients[via].request(
                    method, path, headers=sent_headers, json=json
                )
            except httpx.TransportError as error:
                self._note(order, via, f"{method} {path}", None, sent, json)
                if not may_repeat and not isinstance(error, NOTHING_WAS_SENT):
                    return None
                via, pause = (
                    1 - via,
                    min(FIRST_PAUSE * 2**lost, LONGEST_PAUSE) * random.uniform(0.5, 1),
                )
                lost += 1
            else:
                self._note(order, via, f"{method} {path}", response, sent, json)
                if response.status_code != 503:
                    return response
                if not may_repeat:
                    return None
                pause = float(response.headers["Retry-After"]) * random.uniform(0.5, 1.0)
            await asyncio.sleep(pause)
        self._happened.given_up.append(f"order {order}: {method} {path}")
        raise GivenUpError

    def _note(
        self,
        order: int,
        api: int,
        request: str,
        response: httpx.Response | None,
        sent: datetime,
        body: Mapping[str, Any] | None,
    ) -> None:
        said = said_by(response)
        generation = said.get("generationId") or said.get("id")
        self._happened.answers.append(
            Answer(
                order=order,
                api=api,
                request=request,
                status=0 if response is None else response.status_code,
                code=said.get("code"),
                generation=UUID(generation) if generation else None,
                sent=sent,
                came=now(),
                request_id=None if response is None else response.headers.get("X-Request-Id"),
                uploads=bool(body and "referenceImages" in body),
            )
        )


@asynccontextmanager
async def backend(stack: Stack) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as clients:
        both = [await clients.enter_async_context(stack.client(api)) for api in (0, 1)]
        yield Backend(stack.happened, tuple(both))


def said_by(response: httpx.Response | None) -> dict[str, Any]:
    """What an answer says, as far as it is a JSON object."""
    if response is None or "json" not in response.headers.get("content-type", ""):
        return {}
    body = response.json()
    return body if isinstance(body, dict) else {}

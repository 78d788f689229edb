"""The load: every order of the plan, from its request to what is done to it afterwards."""

from __future__ import annotations

import asyncio
import base64
import logging
import random
from typing import Any
from uuid import UUID

import httpx

from tests.chaos.rounds.client import Backend, GivenUpError, backend, said_by
from tests.chaos.rounds.happened import Followed, Happened
from tests.chaos.rounds.plan import END_USERS, Order
from tests.chaos.rounds.stack import Stack
from tests.e2e.sse import STREAM, told
from tests.e2e.stack import encoded

log = logging.getLogger(__name__)

URL = "/api/v1/generations"
ENDED = ("completed", "failed", "cancelled")
ENDINGS = tuple(f"generation.{status}" for status in ENDED)
PREFER = {"end": {}, "async": {"Prefer": "respond-async"}, "short": {"Prefer": "wait=1"}}
LOOK_EVERY = 0.5
MARK = "xylothequarian"  # in every prompt: no log may hold it
REFERENCES = [base64.b64encode(encoded("PNG", (8 + n, 8))).decode() for n in range(4)]


async def all_orders(stack: Stack, begun: float) -> None:
    """Ends when every client has had its last answer."""
    async with backend(stack) as asking, asyncio.TaskGroup() as clients:
        for order in stack.plan.orders:
            clients.create_task(_client(stack, asking, order, begun))


async def _client(stack: Stack, asking: Backend, order: Order, begun: float) -> None:
    await asyncio.sleep(begun + order.at - asyncio.get_running_loop().time())
    try:
        await Client(stack, asking, order).run()
    except* GivenUpError:
        log.warning("order %s found no answer", order.number)  # and it is noted


class Client:
    """One order's."""

    def __init__(self, stack: Stack, asking: Backend, order: Order) -> None:
        self._happened: Happened = stack.happened
        self._asking, self._order = asking, order
        self._key = f"chaos-{stack.plan.seed}-{order.number}" if order.keyed else None

    async def run(self) -> None:
        """Ask, ask the same again elsewhere, follow, and act."""
        order = self._order
        times = 1 + (order.repeats if order.keyed else 0)
        async with asyncio.TaskGroup() as repeats:
            asked = [
                repeats.create_task(self._place(via=(order.via + n) % 2)) for n in range(times)
            ]
        made = {task.result() for task in asked} - {None}
        for id_ in made:
            assert id_ is not None
            async with asyncio.TaskGroup() as then:
                if order.follow:
                    then.create_task(self._follow(id_))
                then.create_task(self._act(id_))

    async def _place(self, *, via: int) -> UUID | None:
        order = self._order
        response = await self._asking.ask(
            order.number,
            "POST",
            URL,
            via=via,
            key=self._key,
            may_repeat=order.keyed,
            headers=PREFER[order.wait],
            json=_body(order),
        )
        return self._accepted(response, self._key)

    def _accepted(self, response: httpx.Response | None, key: str | None) -> UUID | None:
        """The generation that an answer promises, be it one of a failure."""
        if response is None:
            return None
        body = said_by(response)  # a bare 500 is noted, and breaks a promise
        id_ = body.get("generationId") or body.get("id")
        if id_ is None:
            return None
        self._happened.accepted[UUID(id_)] = self._order
        if key is not None:
            self._happened.by_key.setdefault(key, set()).add(UUID(id_))
        return UUID(id_)

    async def _act(self, id_: UUID) -> None:
        order = self._order
        if order.then == "cancel":
            await asyncio.sleep(order.after)
            await self._do("POST", f"{URL}/{id_}/cancel", "cancel")
        elif order.then is not None:
            await self._until_ended(id_)
        if order.then == "delete":
            answer = await self._do("DELETE", f"{URL}/{id_}", "delete")
            if answer is not None and answer.status_code == 200:
                self._happened.deleted.add(id_)
        elif order.then == "retry":
            key = f"{self._key or self._order.number}-retry-{id_}"
            answer = await self._do("POST", f"{URL}/{id_}/retry", f"retry-{id_}")
            self._accepted(answer, key)

    async def _do(self, method: str, path: str, what: str) -> httpx.Response | None:
        order = self._order
        key = f"chaos-{order.number}-{what}-{path.split('/')[4]}"
        while True:
            answer = await self._asking.ask(
                order.number, method, path, via=1 - order.via, key=key, headers=PREFER["async"]
            )
            if answer is None or answer.status_code != 409 or answer.json()["code"] != "contended":
                return answer

    async def _until_ended(self, id_: UUID) -> None:
        via = self._order.via
        while True:
            answer = await self._asking.ask(self._order.number, "GET", f"{URL}/{id_}", via=via)
            assert answer is not None
            if answer.status_code != 200 or answer.json()["status"] in ENDED:
                return
            via = 1 - via
            await asyncio.sleep(LOOK_EVERY)

    # --- following ---------------------------------------------------------------------------

    async def _follow(self, id_: UUID) -> None:
        """To its end, however often the connection is lost, from whichever api."""
        followed = Followed(id_)
        self._happened.followed.append(followed)
        via = self._order.via
        while not followed.ended:
            if await self._is_over(followed, via):
                followed.ended = True
                return
            via = 1 - via
            await asyncio.sleep(random.uniform(0.05, 0.5))

    async def _is_over(self, followed: Followed, via: int) -> bool:
        seen = {"Last-Event-ID": str(followed.told[-1][0])} if followed.told else {}
        path = f"{URL}/{followed.generation}/events"
        client = self._asking.clients[via]
        try:
            async with client.stream("GET", path, headers=STREAM | seen) as answer:
                if answer.status_code == 204:
                    return True
                if answer.status_code != 200:
                    assert answer.status_code == 503, answer.status_code
                    return False
                async for one in told(answer):
                    if one.id is not None:
                        followed.told.append((int(one.id), one.event))
        except (httpx.TransportError, httpx.StreamError):
            return False
        return bool(followed.told) and followed.told[-1][1] in ENDINGS


def _body(order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": f"a lighthouse, {MARK} {order.number}",
        "size": "64x64",
        "count": order.count,
        "metadata": {"order": str(order.number)},
        "onUnknown": order.on_unknown,
    }
    if whose := order.number % (END_USERS + 1):
        body["endUser"] = f"{MARK} {whose}"
    if order.references:
        first = order.number % len(REFERENCES)
        body["referenceImages"] = (REFERENCES * 2)[first : first + order.references]
    if order.deadline is not None:
        body["deadlineSeconds"] = order.deadline
    return body

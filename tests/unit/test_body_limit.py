"""How bodies share what one process holds of them."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from starlette.types import Message, Receive, Scope, Send

from application.access import Caller
from interfaces.rest import middleware
from interfaces.rest.body_budget import BodyBudget
from interfaces.rest.errors import RequestTimeoutError, TooMuchInFlightError
from interfaces.rest.middleware import BodyLimit

KIBIBYTE = 1024
MOST = 1000 * KIBIBYTE
CHUNK = 100 * KIBIBYTE
TURNS = 20  # of the event loop: more than anything here takes


class Body:
    """A request whose body comes as the test says; what became of it."""

    def __init__(self, door: Door, announced: int, user_id: UUID) -> None:
        self.outcome: str | None = None
        self._parts: asyncio.Queue[Message] = asyncio.Queue()
        headers = [(b"content-length", str(announced).encode())]
        caller = Caller(user_id, "user", frozenset({"generate"}))
        scope = {"type": "http", "headers": headers, "body": self, "state": {"caller": caller}}
        self.task = asyncio.create_task(door.limit(scope, self._receive, _nowhere))

    async def _receive(self) -> Message:
        return await self._parts.get()

    async def send(self, size: int = CHUNK, *, is_last: bool = False) -> None:
        """Until it was read, or the body refused."""
        self._parts.put_nowait(
            {"type": "http.request", "body": bytes(size), "more_body": not is_last}
        )
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def end(self) -> None:
        async with asyncio.timeout(5):
            await self.task


class Door:
    """A BodyLimit with a budget of ten chunks, before an application that keeps what it reads."""

    def __init__(self, stalled_after: float = 60.0, most_of_a_user: int = 10 * CHUNK) -> None:
        budget = BodyBudget(10 * CHUNK, most_of_a_user=most_of_a_user)
        self.limit = BodyLimit(self._app, most=MOST, budget=budget, stalled_after=stalled_after)
        self.go_on = asyncio.Event()
        self.bodies: list[Body] = []

    def body(self, announced: int = MOST, user_id: UUID | None = None) -> Body:
        """Of this user, or of one of its own."""
        self.bodies.append(Body(self, announced, user_id or uuid4()))
        return self.bodies[-1]

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: Body = scope["body"]
        try:
            while (await receive()).get("more_body"):
                pass
        except (TooMuchInFlightError, RequestTimeoutError) as error:
            body.outcome = type(error).__name__
        else:
            body.outcome = "read"
            await self.go_on.wait()


async def _nowhere(message: Message) -> None:
    raise AssertionError(message)


@pytest.fixture
def door() -> Door:
    return Door()


async def test_senders_who_have_sent_nothing_refuse_nobody(door: Door) -> None:
    silent = [door.body() for _ in range(100)]
    other = door.body(5 * CHUNK)
    for number in range(5):
        await other.send(is_last=number == 4)
    assert other.outcome == "read"
    assert {body.outcome for body in silent} == {None}


async def test_the_body_that_came_last_is_given_up_for_those_before_it(door: Door) -> None:
    first, second, third = (door.body() for _ in range(3))
    for body, chunks in ((first, 3), (second, 3), (third, 2)):
        for _ in range(chunks):
            await body.send()
    assert third.outcome is None
    await first.send()
    await third.end()
    assert (first.outcome, second.outcome, third.outcome) == (None, None, "TooMuchInFlightError")
    await second.send()
    assert second.outcome is None, "what the third held is free"


async def test_the_last_one_itself_is_refused_and_the_others_stay(door: Door) -> None:
    first, second = door.body(), door.body()
    for _ in range(6):
        await first.send()
    for _ in range(4):
        await second.send()
    await second.end()
    assert (first.outcome, second.outcome) == (None, "TooMuchInFlightError")
    for _ in range(3):
        await first.send()
    await first.send(is_last=True)
    assert first.outcome == "read"


async def test_one_users_bodies_give_up_only_each_other() -> None:
    door, flooding = Door(most_of_a_user=5 * CHUNK), uuid4()
    first = door.body(user_id=flooding)
    other = door.body(4 * CHUNK)
    second = door.body(user_id=flooding)
    for body in (first, first, first, other, second, second):
        await body.send()
    await first.send()
    await second.end()
    assert (first.outcome, second.outcome, other.outcome) == (None, "TooMuchInFlightError", None)
    await first.send()
    await first.send()
    await first.end()
    assert first.outcome == "TooMuchInFlightError", "half of it is theirs, however much is free"
    for number in range(3):
        await other.send(is_last=number == 2)
    assert other.outcome == "read"


async def test_a_body_that_is_whole_is_given_up_for_nobody(door: Door) -> None:
    first, whole = door.body(), door.body(5 * CHUNK)
    await first.send()
    for number in range(5):
        await whole.send(is_last=number == 4)
    for _ in range(4):
        await first.send()
    await first.end()
    assert (first.outcome, whole.outcome) == ("TooMuchInFlightError", "read")


async def test_what_is_held_is_free_again_when_a_request_ends(door: Door) -> None:
    for _ in range(3):
        body = door.body(9 * CHUNK)
        for number in range(9):
            await body.send(is_last=number == 8)
        assert body.outcome == "read"
        door.go_on.set()
        await body.end()


async def test_a_small_body_is_taken_however_little_is_left(door: Door) -> None:
    large, small = door.body(), door.body(KIBIBYTE)
    for _ in range(9):
        await large.send()
    await small.send(KIBIBYTE, is_last=True)
    assert (large.outcome, small.outcome) == (None, "read")


async def test_who_sends_slower_than_the_least_speed_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(middleware, "LEAST_SPEED", 100 * CHUNK)  # a chunk each 10 milliseconds
    door = Door(stalled_after=0.1)
    slow = door.body()
    async with asyncio.timeout(5):
        while slow.outcome is None:
            await slow.send(KIBIBYTE)
            await asyncio.wait({slow.task}, timeout=0.02)
    assert slow.outcome == "RequestTimeoutError"


async def test_time_in_which_nobody_reads_is_not_the_senders(door: Door) -> None:
    sender = middleware.Sender(_at_once, stalled_after=0.05)
    for _ in range(3):
        await sender.more(BodyBudget().share())
        await asyncio.sleep(0.05)  # longer in all than a sender may be silent


async def _at_once() -> Message:
    await asyncio.sleep(0)
    return {"type": "http.request", "body": b"x", "more_body": True}

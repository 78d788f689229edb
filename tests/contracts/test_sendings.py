"""Clients that send a request again by themselves, without a key, but number their sendings."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from application.ports.event_store import (
    Accepted,
    Command,
    Conflict,
    Duplicate,
    IdempotencyKey,
    Sending,
)
from domain.generation import Generation
from tests.contracts.stores import Case
from tests.generations import request_command

USER = uuid4()
KEEP = timedelta(minutes=25)


async def sent(
    case: Case,
    number: int,
    *,
    says: str = "a fox",
    user: UUID = USER,
    arrived_at: datetime | None = None,
    keep: timedelta = KEEP,
) -> UUID:
    """The generation that this sending made or was taken for."""
    generation: Generation = case.generation(user_id=user)
    sending = Sending(number, arrived_at or case.store.now())
    key = IdempotencyKey(user, str(uuid4()), says, generation.id, keep, sending)
    placing = request_command(generation)
    outcome = await case.store.append(
        Command(placing.events, placing.units, key, placing.work),
    )
    if isinstance(outcome, Duplicate):
        assert outcome.same_fingerprint
        return outcome.ref
    assert isinstance(outcome, Accepted)
    return generation.id


async def test_two_deliberate_requests_are_two(case: Case) -> None:
    assert await sent(case, 0) != await sent(case, 0)


async def test_a_repeat_is_the_request_that_it_repeats_however_often_it_comes(case: Case) -> None:
    first = await sent(case, 0)

    assert [await sent(case, number) for number in (1, 2, 3)] == [first] * 3


async def test_a_repeat_whose_first_sending_never_came_is_a_request(case: Case) -> None:
    made = await sent(case, 1)

    assert await sent(case, 2) == made
    assert await sent(case, 0) != made, "what is asked for later is another request"


async def test_repeats_of_equal_requests_are_taken_for_one_each(case: Case) -> None:
    firsts = [await sent(case, 0) for _ in range(3)]

    repeats = [await sent(case, 1) for _ in range(4)]

    assert repeats[:3] == firsts[::-1]
    assert repeats[3] not in firsts, "it is of a fourth, whose first sending was lost"


async def test_a_first_sending_that_was_overtaken_is_what_the_later_one_made(case: Case) -> None:
    arrived_at = case.store.now() - timedelta(seconds=3)
    made = await sent(case, 1)

    assert await sent(case, 0, arrived_at=arrived_at) == made
    assert await sent(case, 0, arrived_at=arrived_at) != made, "it has its first sending now"


async def test_only_the_same_request_of_the_same_user_is_repeated(case: Case) -> None:
    first = await sent(case, 0)

    others = [await sent(case, 1, says="a hare"), await sent(case, 1, user=uuid4())]
    assert first not in others
    assert await sent(case, 1) == first


async def test_a_request_is_not_repeated_for_ever(case: Case) -> None:
    first = await sent(case, 0, keep=timedelta())

    assert await sent(case, 1) != first


async def test_repeats_that_come_at_once_are_one_request(case: Case) -> None:
    made = await asyncio.gather(*(sent(case, number) for number in (1, 2, 3, 4)))

    assert len(set(made)) == 1


async def test_a_sending_is_no_clients_key(case: Case) -> None:
    generation = case.generation(user_id=USER)
    keyed = IdempotencyKey(USER, "k", "a fox", generation.id)
    await case.store.append(Command(request_command(generation).events, idempotency=keyed))

    assert await sent(case, 1) != generation.id


async def test_what_is_only_a_repeat_is_taken_for_what_was_sent_and_makes_nothing(
    case: Case,
) -> None:
    async def repeated(number: int) -> object:
        sending = Sending(number, case.store.now())
        key = IdempotencyKey(USER, str(uuid4()), "a fox", USER, KEEP, sending, only_a_repeat=True)
        return await case.store.append(Command(idempotency=key))

    assert await repeated(1) == Conflict()
    firsts = [await sent(case, 0) for _ in range(2)]

    repeats = [await repeated(1) for _ in range(3)]

    assert repeats == [Duplicate(firsts[1], True), Duplicate(firsts[0], True), Conflict()]

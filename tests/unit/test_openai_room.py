"""The pictures that one process holds for OpenAI's clients have a bound together."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from interfaces.openai.room import COPIES, Room
from interfaces.rest.carried import TooMuchCarriedError


async def test_who_finds_no_room_waits_until_somebody_has_read() -> None:
    room, entered = Room(10 * COPIES), list[int]()

    async def hold(number: int, until: asyncio.Event) -> None:
        async with room.taken(6, uuid4()):
            entered.append(number)
            await until.wait()

    read = [asyncio.Event(), asyncio.Event()]
    holding = [asyncio.create_task(hold(i, event)) for i, event in enumerate(read)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert entered == [0]
    read[0].set()
    await holding[0]
    read[1].set()
    await holding[1]
    assert entered == [0, 1]


async def test_who_waits_too_long_is_told_to_come_back() -> None:
    room = Room(10 * COPIES, patience=0.01)
    async with room.taken(10, uuid4()):
        with pytest.raises(TooMuchCarriedError):
            await room.taken(1, uuid4()).__aenter__()
    async with room.taken(10, uuid4()):
        pass


async def test_pictures_larger_than_all_room_get_all_of_it() -> None:
    room = Room(10 * COPIES, patience=0.01)
    async with room.taken(99, uuid4()):
        async with room.taken(0, uuid4()):
            pass
        with pytest.raises(TooMuchCarriedError):
            await room.taken(1, uuid4()).__aenter__()


async def test_one_user_does_not_keep_others_out() -> None:
    room, flooding = Room(10 * COPIES, most_of_a_user=5 * COPIES, patience=0.01), uuid4()
    async with room.taken(3, flooding):
        with pytest.raises(TooMuchCarriedError):
            await room.taken(3, flooding).__aenter__()
        async with room.taken(2, flooding), room.taken(5, uuid4()):
            pass
    async with room.taken(9, flooding):
        pass
    assert not room._taken

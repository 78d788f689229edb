"""A generation is followed as it happens, over any number of lost connections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import ClaimWork, Command
from infrastructure.event_store.appender import PATIENCE
from tests.e2e.sse import STREAM, everything, following
from tests.e2e.stack import Stack, running, settings_for
from tests.proxy import Proxy

URL = "/api/v1/generations"
TRAIL = ["requested", "call_started", "call_answered", "completed"]


def short(events: list[Any]) -> list[str]:
    return [one.event.removeprefix("generation.") for one in events]


async def test_a_stream_tells_everything_as_it_happens_and_then_ends(stack: Stack) -> None:
    queued = await stack.generate()
    async with following(stack.client, queued["links"]["events"]) as stream:
        first = await anext(stream)
        assert (first.event, first.data["type"]) == ("generation.requested",) * 2
        async with stack.at_work():
            rest = [one async for one in stream if one.event != "queue"]

    page = (await stack.client.get(queued["links"]["events"])).json()["items"]
    assert [one.data for one in [first, *rest]] == page
    assert [one.id for one in [first, *rest]] == [str(item["position"]) for item in page]
    assert short([first, *rest]) == TRAIL


async def test_who_comes_later_is_told_from_the_beginning(stack: Stack) -> None:
    queued = await stack.generate()
    await stack.perform_all()

    assert short(await everything(stack.client, queued["links"]["events"])) == TRAIL


@pytest.mark.parametrize("seen", range(1, len(TRAIL)))
async def test_who_reconnects_is_told_what_it_missed(stack: Stack, seen: int) -> None:
    queued = await stack.generate()
    await stack.perform_all()
    whole = await everything(stack.client, queued["links"]["events"])
    last = whole[seen - 1].id
    assert last is not None

    rest = await everything(stack.client, queued["links"]["events"], Last_Event_ID=last)
    by_position = await everything(stack.client, f"{queued['links']['events']}?after={last}")

    assert rest == by_position == whole[seen:]


async def test_who_has_seen_the_end_is_told_not_to_reconnect(stack: Stack) -> None:
    queued = await stack.generate()
    await stack.perform_all()
    end = (await everything(stack.client, queued["links"]["events"]))[-1].id
    assert end is not None

    answer = await stack.client.get(
        queued["links"]["events"], headers={**STREAM, "Last-Event-ID": end}
    )

    assert (answer.status_code, answer.content) == (204, b"")


async def test_what_happens_in_another_process_is_told(stack: Stack, tmp_path: Path) -> None:
    url = stack.container.database_url()
    async with running(settings_for(tmp_path, url, stack.container.redis_url())) as other:
        queued = await stack.generate()
        async with following(other.client, queued["links"]["events"]) as stream:
            await anext(stream)
            async with stack.at_work():
                rest = [one async for one in stream if one.event != "queue"]

    assert short(rest) == TRAIL[1:]


async def test_a_cancelled_generation_ends_its_streams(stack: Stack) -> None:
    queued = await stack.generate()
    async with following(stack.client, queued["links"]["events"]) as stream:
        await anext(stream)
        await stack.client.post(f"{URL}/{queued['id']}/cancel")
        rest = [one async for one in stream if one.event != "queue"]

    assert short(rest) == ["cancelled"]


@pytest.mark.parametrize(
    "last", ["x", "-1", "1.5", "9" * 30, "999999", "\u00b2".encode().decode("latin-1")]
)
async def test_an_event_id_that_is_none_of_this_stream_is_400(stack: Stack, last: str) -> None:
    queued = await stack.generate()

    headers = {b"accept": b"text/event-stream", b"last-event-id": last.encode("latin-1")}
    answer = await stack.client.get(queued["links"]["events"], headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "event-id-refused")


async def test_the_id_of_another_generations_event_is_400(stack: Stack) -> None:
    one, other = await stack.generate(), await stack.generate()
    position = (await stack.client.get(one["links"]["events"])).json()["items"][0]["position"]

    answer = await stack.client.get(
        other["links"]["events"], headers={**STREAM, "Last-Event-ID": str(position)}
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "event-id-refused")


async def test_a_stream_of_what_is_not_there_is_404(stack: Stack) -> None:
    answer = await stack.client.get(f"{URL}/{uuid4()}/events", headers=STREAM)

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_head_of_a_stream_does_not_begin_it(stack: Stack) -> None:
    queued = await stack.generate()

    answer = await stack.client.head(queued["links"]["events"], headers=STREAM)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert not stack.watched()


async def test_a_client_that_goes_away_costs_nothing(stack: Stack) -> None:
    queued = await stack.generate()
    followers = stack.container.following()._followers
    for _ in range(5):
        async with following(stack.client, queued["links"]["events"]) as stream:
            await anext(stream)
            assert len(stack.watched()) == 1

    async with asyncio.timeout(5):
        while stack.watched() or followers:
            await asyncio.sleep(0.01)


async def test_a_stopping_process_lets_its_followers_go(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with running(settings_for(tmp_path, database_url, redis_url)) as stack:
        queued = await stack.generate()
        async with following(stack.client, queued["links"]["events"]) as stream:
            await anext(stream)
            stack.container.following().stop()
            async with asyncio.timeout(5):
                rest = [one async for one in stream if one.event != "queue"]

    assert rest == []


# --- the queue -----------------------------------------------------------------------------------


async def test_what_is_queued_says_where_and_why(stack: Stack) -> None:
    generations = [await stack.generate() for _ in range(3)]
    path = generations[2]["links"]["job"]

    job = (await stack.client.get(path)).json()
    async with following(stack.client, generations[2]["links"]["events"]) as stream:
        told = [await anext(stream), await anext(stream)]

    assert (job["status"], job["queue"]["place"]) == ("queued", 3)
    assert job["queue"]["reason"] == "no-workers"
    assert "About 2 others are before it." in job["queue"]["detail"]
    assert (told[1].event, told[1].id) == ("queue", None)
    assert told[1].data == job["queue"]


async def test_busy_workers_are_named_and_a_place_moves(stack: Stack) -> None:
    worker, held = uuid4(), await stack.generate()
    await stack.container.board().register(worker, slots=1, lease=stack.container.lease())
    claim = ClaimWork("generate", UUID(held["id"]), worker)
    await stack.container.store().append(Command(work=claim))
    first, second = await stack.generate(), await stack.generate()

    async with following(stack.client, second["links"]["events"]) as stream:
        await anext(stream)
        assert (await anext(stream)).data["place"] == 2
        await stack.client.post(f"{URL}/{first['id']}/cancel")
        moved = await anext(stream)

    assert (moved.data["place"], moved.data["reason"]) == (1, "workers-busy")


async def test_a_job_is_told_to_its_end(stack: Stack) -> None:
    queued = await stack.generate(count=2)
    path = queued["links"]["job"]
    assert (await stack.client.get(path)).json()["result"] is None

    await stack.perform_all()

    job = (await stack.client.get(path)).json()
    shown = (await stack.client.get(queued["links"]["self"])).json()
    assert (job["id"], job["type"], job["status"]) == (queued["id"], "generation", "completed")
    assert job["result"] == {"images": [i["url"] for i in shown["images"]], "missing": 0}
    assert (job["queue"], job["errorMessage"]) == (None, None)
    assert job["payload"]["count"] == 2
    assert job["createdAt"] <= job["startedAt"] <= job["completedAt"]
    assert job["links"]["generation"] == queued["links"]["self"]
    assert "a lighthouse" not in str(job)


# --- while PostgreSQL cannot be reached ----------------------------------------------------------


async def test_a_follower_misses_nothing_when_every_connection_is_cut(stack: Stack) -> None:
    queued = await stack.generate()
    async with following(stack.client, queued["links"]["events"]) as stream:
        await anext(stream)
        async with stack.at_work():
            for _ in range(5):
                await stack.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database()"
                    " AND application_name IN ('darkroom news', 'darkroom read')"
                )
                await asyncio.sleep(0.02)
            async with asyncio.timeout(20):
                rest = [one async for one in stream if one.event != "queue"]

    assert short(rest) == TRAIL[1:]


@pytest.mark.slow
async def test_a_follower_misses_nothing_while_the_database_stands_still(
    stack: Stack, tmp_path: Path
) -> None:
    queued = await stack.generate()
    url, redis_url = stack.container.database_url(), stack.container.redis_url()
    async with (
        Proxy(url) as proxy,
        running(settings_for(tmp_path, proxy.url, redis_url)) as other,
        following(other.client, queued["links"]["events"]) as stream,
    ):
        await anext(stream)
        proxy.pause()
        await stack.perform_all()
        await asyncio.sleep(PATIENCE + 1)  # what was asked meanwhile is given up
        proxy.go_on()
        async with asyncio.timeout(20):
            rest = [one async for one in stream if one.event != "queue"]

    assert short(rest) == TRAIL[1:]

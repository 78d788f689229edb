"""Pages of a history in which no filter finds what it looks for among the newest alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import psycopg
import pytest

from domain.generation import Status
from domain.image import ImageSpec
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.store import READING, PostgresEventStore
from infrastructure.read_models import image_generations
from infrastructure.read_models.image_generations import (
    READ_MODEL,
    HistoryFilter,
    ImageGenerationRow,
    history_page,
)

OWNER, OTHER = UUID(int=7), UUID(int=8)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
GENERATIONS = 120
LOOKED_THROUGH = 10
STATUSES = get_args(Status)
INSERT = f"""
INSERT INTO {READ_MODEL.schema}.image_generations
       (id, user_id, prompt, words, metadata, spec, count, provider_used, model, reference_images,
        reference_images_count, status, on_unknown, on_refusal, end_user_id, position, created_at,
        deadline_at)
VALUES (%(id)s, %(user_id)s, %(prompt)s, to_tsvector('simple', %(prompt)s), '{{}}', %(spec)s, 1,
        %(provider)s, %(model)s, '[]', 0, %(status)s, 'repeat', 'fail', %(end_user_id)s,
        %(position)s, %(created_at)s, %(created_at)s)
"""


def generation(number: int) -> dict[str, Any]:
    """One of somebody's, every third somebody else's; two at a time are of the same moment."""
    provider = (None, "sketch", "openai", "sketch", "sketch")[number % 5]
    return {
        "id": uuid4(),
        "user_id": OTHER if number % 3 == 0 else OWNER,
        "prompt": " ".join(f"by{n}" for n in (1, 2, 7, 19) if number % n == 0),
        "spec": json.dumps(ImageSpec().model_dump(mode="json")),
        "provider": provider,
        "model": provider and f"{provider}-{number % 2}",
        "status": STATUSES[number // 3 % 5],
        "end_user_id": (None, UUID(int=17), UUID(int=18), None)[number % 4],
        "position": 10 * number,
        "created_at": BEGAN + timedelta(minutes=number // 2),
    }


HISTORY = [generation(number) for number in range(1, GENERATIONS + 1)]


@pytest.fixture
async def store(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresEventStore]:
    monkeypatch.setattr(image_generations, "LOOKED_THROUGH", LOOKED_THROUGH)
    await ensure_tables(database_url)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.cursor().executemany(INSERT, HISTORY)
    store = PostgresEventStore(database_url)
    await store.open()
    yield store
    await store.close()


Meets = Callable[[dict[str, Any]], bool]


def says(*words: str) -> Meets:
    return lambda row: set(words) <= set(row["prompt"].split())


def every(*meets: Meets) -> Meets:
    return lambda row: all(one(row) for one in meets)


def of(**wanted: Any) -> Meets:
    return lambda row: wanted.items() <= row.items()


SINCE, UNTIL = BEGAN + timedelta(minutes=10), BEGAN + timedelta(minutes=41)
FILTERS: dict[str, tuple[HistoryFilter, Meets]] = {
    "nothing": (HistoryFilter(), of()),
    "a status": (HistoryFilter(statuses=("failed",)), of(status="failed")),
    "statuses": (
        HistoryFilter(statuses=("queued", "failed", "queued")),
        lambda row: row["status"] in ("queued", "failed"),
    ),
    "a provider": (HistoryFilter(provider="openai"), of(provider="openai")),
    "a provider of nobody": (HistoryFilter(provider="gemini"), lambda row: False),
    "a model": (HistoryFilter(model="sketch-1"), of(model="sketch-1")),
    "an end user": (HistoryFilter(end_user_id=UUID(int=17)), of(end_user_id=UUID(int=17))),
    "an end user of nobody": (HistoryFilter(end_user_id=OTHER), lambda row: False),
    "from a time": (HistoryFilter(created_from=SINCE), lambda row: row["created_at"] >= SINCE),
    "until a time": (HistoryFilter(created_before=UNTIL), lambda row: row["created_at"] < UNTIL),
    "after all": (HistoryFilter(created_from=BEGAN + timedelta(days=1)), lambda row: False),
    "before the end": (HistoryFilter(created_before=BEGAN + timedelta(days=1)), of()),
    "a frequent word": (HistoryFilter(words="by1"), of()),
    "a word": (HistoryFilter(words="by2"), says("by2")),
    "a rare word": (HistoryFilter(words="by19"), says("by19")),
    "a word of nobody": (HistoryFilter(words="by3"), lambda row: False),
    "an unwanted word": (HistoryFilter(words="-by2"), lambda row: not says("by2")(row)),
    "words": (HistoryFilter(words="by7 by2"), says("by7", "by2")),
    "a status and a word": (
        HistoryFilter(statuses=("failed",), words="by2"),
        every(of(status="failed"), says("by2")),
    ),
    "statuses and a word": (
        HistoryFilter(statuses=STATUSES, words="by7"),
        says("by7"),
    ),
    "a provider and a word": (
        HistoryFilter(provider="sketch", words="by7"),
        every(of(provider="sketch"), says("by7")),
    ),
    "a status and a provider": (
        HistoryFilter(statuses=("completed",), provider="sketch"),
        of(status="completed", provider="sketch"),
    ),
    "everything": (
        HistoryFilter(("completed", "failed"), "sketch", "sketch-1", SINCE, UNTIL, "by1"),
        lambda row: (
            row["status"] in ("completed", "failed")
            and row["model"] == "sketch-1"
            and SINCE <= row["created_at"] < UNTIL
        ),
    ),
}


async def pages(
    store: PostgresEventStore, wanted: HistoryFilter, limit: int
) -> list[Sequence[ImageGenerationRow]]:
    """One after the other, up to one that is not full."""
    found: list[Sequence[ImageGenerationRow]] = []
    while not found or len(found[-1]) == limit:
        before = found[-1][-1].position if found else None
        found.append(
            await history_page(
                store.fetch, user_id=OWNER, limit=limit, before=before, wanted=wanted
            )
        )
    return found


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
@pytest.mark.parametrize("name", FILTERS)
async def test_pages_of_a_filter_are_complete_and_in_order(
    store: PostgresEventStore, name: str, limit: int
) -> None:
    wanted, meets = FILTERS[name]

    found = [row.id for page in await pages(store, wanted, limit) for row in page]

    assert found == [row["id"] for row in reversed(HISTORY) if every(of(user_id=OWNER), meets)(row)]


async def test_a_history_before_the_first_position_is_empty(store: PostgresEventStore) -> None:
    assert await history_page(store.fetch, user_id=OWNER, limit=5, before=0) == []


# --- by which index ------------------------------------------------------------------------------

INDEX_NAMES = ("history", "status", "provider", "model", "end_user", "time", "words", "pkey")
INDEXES = {
    "nothing": {"history"},
    "a status": {"status"},
    "statuses": {"status"},
    "a provider": {"provider"},
    "a model": {"model"},
    "an end user": {"end_user"},
    "from a time": {"history", "time"},
    "until a time": {"history", "time"},
    "a word": {"history", "words"},
    "a status and a word": {"status", "words"},
    "a provider and a word": {"provider", "words"},
}


async def plan(database_url: str, wanted: HistoryFilter) -> str:
    """That of a session which knows neither the values nor anything about the table."""
    plans: list[str] = []
    async with await psycopg.AsyncConnection.connect(
        database_url, options=" ".join(f"-c {name}={value}" for name, value in READING.items())
    ) as connection:

        async def explain(query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
            numbers = iter(range(1, len(parameters) + 1))
            numbered = "".join(
                part if number == 0 else f"${next(numbers)}{part}"
                for number, part in enumerate(query.split("%s"))
            )
            nulls = ", ".join(["NULL"] * len(parameters))
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            await connection.execute(f"PREPARE page AS {numbered}".encode())
            explained = await connection.execute(f"EXPLAIN EXECUTE page ({nulls})".encode())
            plans.extend(line for (line,) in await explained.fetchall())
            return []

        await history_page(explain, user_id=OWNER, limit=20, before=500, wanted=wanted)
    return "\n".join(plans)


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.parametrize("rows", [0, 1, 120])
async def test_a_plan_of_a_small_history_is_right_for_a_large_one(
    database_url: str, name: str, rows: int
) -> None:
    await ensure_tables(database_url)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.cursor().executemany(INSERT, HISTORY[:rows])
        await connection.execute(f"VACUUM ANALYZE {READ_MODEL.schema}.image_generations".encode())
    wanted, _ = FILTERS[name]

    explained = await plan(database_url, wanted)

    used = {index for index in INDEX_NAMES if f"image_generations_{index}" in explained}
    assert used == INDEXES[name], explained
    assert "Seq Scan on image_generations" not in explained
    assert explained.count("Bitmap Index Scan") == ("words" in used), explained

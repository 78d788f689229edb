"""Many generations at once: lives that the domain has decided, told again and again by PostgreSQL.

`fill_log` writes their events; `fill_history` multiplies rows that a follower has made of such
events, since projecting millions of them would take longer than measuring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from psycopg import AsyncConnection

from application.accounts import ADMINISTRATOR
from bench.commands import PROMPT
from domain.aggregate import Event, caused_by
from domain.failure import Failure, FailureKind
from domain.generation import Generation, Wish
from domain.image import Cost, ImageSpec, StoredImage, image_key
from domain.quota import windows_at
from infrastructure.event_store.connections import connect
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.mapper import JsonMapper
from infrastructure.read_models import image_generations
from infrastructure.read_models.read_model import ReadModel
from tests.meanwhile import meanwhile

OTHERS = 1000  # users beside the one who asks
SHARE = 77  # of 128 generations that are the asking user's
SHA256 = "5" * 64
FREQUENT_WORD, RARE_WORD = "w0", "w500"  # in about one prompt of two, of two hundred
# The lower a word's number, the more often it is used, as with real words.
WORDS = """
(SELECT string_agg('w' || floor(2000 * power(random(), 3))::int, ' ')
   FROM generate_series(1, 10) WHERE n > 0)
"""
OWNER = f"""
(CASE WHEN hashint8(n) & 127 < {SHARE} THEN %(user)s::uuid
      ELSE md5('user' || n %% {OTHERS})::uuid END)
"""
FILL_LOG = f"""
INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
SELECT id, version, topic,
       convert_to(replace(replace(replace(replace(replace(state,
           life, id::text), event, gen_random_uuid()::text), %(user)s::uuid::text, owner::text),
           '{SHA256}', sha256), '{PROMPT}', prompt), 'UTF8'),
       now() - (%(generations)s + 40 - n - 8 * version) * interval '5 ms'
  FROM (SELECT n, gen_random_uuid() AS id, {OWNER} AS owner, {WORDS} AS prompt,
               encode(sha256(n::text::bytea), 'hex') AS sha256
          FROM generate_series(1, %(generations)s::bigint) n) g
  JOIN unnest(%(weights)s::int4range[], %(lives)s::text[], %(events)s::text[],
              %(versions)s::int[], %(topics)s::text[], %(states)s::text[])
       AS told(weight, life, event, version, topic, state) ON (n %% 100)::int <@ weight
 ORDER BY n + 8 * version  -- eight of them are under way at a time
"""  # a stream's events stay in order
COLUMNS = """
SELECT column_name FROM information_schema.columns
 WHERE table_schema = current_schema() AND table_name = 'image_generations'
   AND is_generated = 'NEVER'
"""
FILL_HISTORY = """
INSERT INTO image_generations ({columns})
SELECT {values}
  FROM generate_series(1, %(generations)s::bigint) n
 CROSS JOIN LATERAL (SELECT {words} AS prompt) said
  JOIN (SELECT *, row_number() OVER () - 1 AS place FROM pattern) g
    ON g.place = n %% (SELECT count(*) FROM pattern)
"""
INSTEAD = {
    "id": "gen_random_uuid()",
    "user_id": OWNER,
    "prompt": "said.prompt",
    "words": "to_tsvector('simple', said.prompt)",
    "position": "4 * n",
    "created_at": "now() - (%(generations)s - n) * interval '1 s'",
}
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
 WHERE indrelid = 'image_generations'::regclass AND NOT indisprimary
"""


@dataclass
class Life:
    """A generation and all that was decided of it; `share` is of a hundred generations."""

    share: range
    events: list[Event]
    generation: Generation

    @classmethod
    def begun(cls, share: range, *, provider: str, now: datetime) -> Life:
        """Asked for, and its provider called."""
        requested = Generation.request(
            id=uuid4(),
            user_id=ADMINISTRATOR,
            api_key_id="admin",
            spec=ImageSpec(size="1024x1024"),
            wish=Wish(prompt=PROMPT, metadata={"order": "4711"}),
            windows=windows_at(now),
        )
        life = cls(share, [], requested)
        life.record(now)
        life.generation.start_call(provider=provider, model=f"{provider}-1", images=(1,))
        life.record(now)
        return life

    def record(self, now: datetime) -> None:
        """Keep what was just decided; the generation is as it would be loaded then."""
        mapper = JsonMapper()
        self.events += self.generation.collect_events()
        folded: Any = None
        for event in self.events:
            stored = mapper.to_stored_event(event)
            folded = mapper.to_domain_event(stored, now).mutate(folded)
        self.generation = folded

    def completed(self, now: datetime) -> Life:
        """Its call answered with a picture."""
        id_ = self.generation.id
        key = image_key(id_, 1, SHA256, "image/png")
        picture = StoredImage(
            number=1,
            key=key,
            sha256=SHA256,
            content_type="image/png",
            width=1024,
            height=1024,
            bytes=1_234_567,
        )
        self.generation.answer_call(
            1,
            provider_request_id="r-1",
            usage={"images": 1},
            cost=Cost(amount=Decimal("0.0400"), price_list="bench-1"),
            images=(picture,),
        )
        self.record(now)
        self.generation.finish(urls={1: f"http://127.0.0.1:8000/{key}"}, now=now)
        self.record(now)
        return self

    def failed(self, kind: FailureKind, now: datetime) -> Life:
        """Its call failed for good."""
        self.generation.fail_call(1, Failure(kind=kind, message="No."), now=now, jitter=0.5)
        self.record(now)
        self.generation.finish(urls={}, now=now)
        self.record(now)
        return self


def lives() -> Iterator[Life]:
    """Of a hundred: 93 painted by the sketch, two by another provider, five refused."""
    now = datetime.now(UTC)
    with caused_by(actor=f"user:{ADMINISTRATOR}", correlation_id=str(uuid4())):
        yield Life.begun(range(93), provider="sketch", now=now).completed(now)
        yield Life.begun(range(93, 95), provider="openai", now=now).completed(now)
        yield Life.begun(range(95, 100), provider="sketch", now=now).failed("moderation_input", now)


BEHIND = """
SELECT FROM follower_positions
 WHERE name = '{}' AND position < (SELECT max(notification_id) FROM stored_events)
"""


async def fill_log(database_url: str, generations: int) -> int:
    """Write the events of so many generations, one asked for every 5 ms up to now; how many."""
    mapper, told = JsonMapper(), [(life, event) for life in lives() for event in life.events]
    rows = [mapper.to_stored_event(event) for _, event in told]
    async with await connect(database_url, "bench fill") as connection:
        filled = await connection.execute(
            FILL_LOG,
            {
                "user": str(ADMINISTRATOR),
                "generations": generations,
                "weights": [f"[{life.share.start},{life.share.stop})" for life, _ in told],
                "lives": [str(life.generation.id) for life, _ in told],
                "events": [str(event.event_id) for _, event in told],
                "versions": [row.originator_version for row in rows],
                "topics": [row.topic for row in rows],
                "states": [row.state.decode() for row in rows],
            },
        )
        await connection.execute("VACUUM ANALYZE stored_events")
        return filled.rowcount


async def fill_history(database_url: str, generations: int) -> None:
    """Put so many generations into the history alone; the log has some hundred of them."""
    await fill_log(database_url, 200)
    await project(database_url, image_generations.READ_MODEL)
    async with await connect(
        database_url, "bench fill", search_path=image_generations.READ_MODEL.schema
    ) as connection:
        await connection.execute("SET maintenance_work_mem = '256MB'")
        indexes = await _rows(connection, INDEXES)
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        await connection.execute("CREATE TEMP TABLE pattern AS SELECT * FROM image_generations")
        await connection.execute("TRUNCATE image_generations")
        columns = [column for (column,) in await _rows(connection, COLUMNS)]
        values = [INSTEAD.get(column, f"g.{column}") for column in columns]
        await connection.execute(
            FILL_HISTORY.format(columns=", ".join(columns), values=", ".join(values), words=WORDS),
            {"user": str(ADMINISTRATOR), "generations": generations},
        )
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute("VACUUM ANALYZE image_generations")


async def project(database_url: str, read_model: ReadModel) -> None:
    """Follow the log to where it ends now, as the projector does."""
    async with (
        meanwhile(Follower(database_url, read_model).run()),
        await connect(database_url, "bench look") as connection,
    ):
        while await _rows(connection, BEHIND.format(read_model.name)):
            await asyncio.sleep(0.05)


async def _rows(connection: AsyncConnection[Any], query: str) -> Sequence[tuple[Any, ...]]:
    return await (await connection.execute(query)).fetchall()

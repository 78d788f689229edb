"""The read models over a varied history, live and rebuilt."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest

from application.api_keys import ApiKeys
from application.ports.event_store import Accepted, Command
from domain.delivery import Delivery
from domain.failure import Failure
from domain.generation import Call, Generation, Status
from domain.image import ReferenceImage
from domain.retries import Answer, Retries
from domain.user import Profile, User
from infrastructure import read_models
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.follower_tables import ensure_tables, follower_states
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.event_store.uses import PostgresUses
from infrastructure.read_models.api_keys import api_keys_page
from infrastructure.read_models.image_generations import history_page
from infrastructure.read_models.users import users_page
from tests.generations import COST, HOUR, new_generation, stored_image
from tests.integration.following import append, eventually, rows, running

OWNER = UUID(int=7)
TABLES = {
    "api_keys": "SELECT * FROM api_keys ORDER BY id",
    "image_generations": "SELECT * FROM image_generations ORDER BY id",
    "jobs": "SELECT * FROM jobs ORDER BY id",
    "users": "SELECT * FROM users ORDER BY id",
    "webhook_deliveries": "SELECT * FROM webhook_deliveries ORDER BY id",
}
REFERENCE = ReferenceImage(
    sha256="a" * 64, key="references/x", content_type="image/png", width=4, height=3, bytes=9
)
MASK = REFERENCE.model_copy(update={"key": "references/mask"})


class History:
    """Records generations of one owner that took every way there is, step by step."""

    def __init__(self, store: PostgresEventStore) -> None:
        self._store = store

    async def load(self, ref: UUID) -> Generation:
        generation = await self._store.get(Generation, ref)
        assert generation is not None
        return generation

    async def requested(self, **wanted: Any) -> UUID:
        generation = new_generation(self._store.now(), user_id=OWNER, **wanted)
        await append(self._store, generation)
        return generation.id

    async def called(self, ref: UUID, *images: int, provider: str = "sketch") -> int:
        generation = await self.load(ref)
        call = generation.start_call(provider=provider, model=f"{provider}-1", images=images)
        await append(self._store, generation)
        return call

    async def answered(self, ref: UUID, call: int, *images: int) -> None:
        generation = await self.load(ref)
        generation.answer_call(
            call,
            provider_request_id=None,
            usage={"tokens": 3},
            cost=COST,
            images=tuple(stored_image(ref, number) for number in images),
        )
        await append(self._store, generation)

    async def failed(self, ref: UUID, call: int) -> None:
        generation = await self.load(ref)
        failure = Failure(kind="moderation_input")
        generation.fail_call(call, failure, now=self._store.now(), jitter=0.5)
        await append(self._store, generation)

    async def finished(self, ref: UUID) -> Generation:
        generation = await self.load(ref)
        urls = {number: f"https://pictures.test/{number}" for number in generation.images}
        generation.finish(urls=urls, now=self._store.now())
        await append(self._store, generation)
        return await self.load(ref)

    async def completed(self, **wanted: Any) -> Generation:
        ref = await self.requested(**wanted)
        numbers = tuple(range(1, wanted.get("count", 1) + 1))
        await self.answered(ref, await self.called(ref, *numbers), *numbers)
        return await self.finished(ref)

    async def partial(self) -> Generation:
        ref = await self.requested(count=3, references=(REFERENCE,), mask=MASK)
        first = await self.called(ref, 1, 2, provider="openai")
        second = await self.called(ref, 3, provider="gemini")
        await self.answered(ref, first, 1, 2)
        await self.failed(ref, second)
        return await self.finished(ref)

    async def refused(self) -> Generation:
        ref = await self.requested()
        await self.failed(ref, await self.called(ref, 1))
        return await self.finished(ref)

    async def cancelled(self) -> Generation:
        """Its call was lost, and answers when it is too late."""
        ref = await self.requested(count=2)
        call = await self.called(ref, 1, 2)
        generation = await self.load(ref)
        generation.lose_call(call, reason="its worker is gone", repeat_costs=False)
        generation.cancel(by=OWNER)
        await append(self._store, generation)
        await self.answered(ref, call, 1)
        return await self.load(ref)

    async def deleted(self) -> Generation:
        generation = await self.completed(count=2, prompt="soon gone")
        generation.delete(by=OWNER)
        await append(self._store, generation)
        return generation

    async def registered(self, issuer: str, subject: str, *, name: str = "Ada") -> User:
        profile = Profile(subject=subject, email="ada@example.test", name=name)
        user = User.register(issuer=issuer, role="user", profile=profile)
        outcome = await self._store.append(Command(events=user.collect_events()))
        assert isinstance(outcome, Accepted)
        return user

    async def of_a_user(self) -> User:
        """Who logged in twice, by another name the second time, and was promoted and suspended."""
        user = await self.registered("https://id.example.test", "much decided")
        for name in ("Ada", "Ada King"):
            profile = user.profile.model_copy(update={"name": name})
            user.log_in(
                session=uuid4(),
                token_hash=name,
                now=self._store.now(),
                lasts=HOUR,
                profile=profile,
            )
            await append(self._store, user)
        user.take_role("administrator", by=OWNER)
        for _ in range(2):
            user.suspend(by=OWNER)
            user.reinstate(by=OWNER)
        user.suspend(by=OWNER)
        await append(self._store, user)
        return user

    async def keys_of(self, user: User) -> tuple[str, str]:
        """A key that is good, and one that was revoked."""
        keys = ApiKeys(self._store)
        issued = [
            await keys.issue(
                user_id=user.id,
                name=name,
                scopes=("generate", "read"),
                expires_at=self._store.now() + HOUR if name == "good" else None,
                by=user.id,
            )
            for name in ("good", "revoked")
        ]
        await keys.revoke(id=issued[1].record.id, by=user.id)
        return issued[0].record.prefix, issued[1].record.prefix

    async def delivered(self, *answers: Answer, resend: bool = False) -> None:
        """What receivers are told of it, and how they answered one after the other."""
        delivery = Delivery.of_end(
            uuid4(),
            "image.generation.completed",
            user_id=OWNER,
            generation=uuid4(),
            endpoint=uuid4(),
        )
        retries, id_ = Retries((0, 60)), delivery.id
        await append(self._store, delivery)
        for answer in answers:
            tried = await self._store.get(Delivery, id_)
            assert tried is not None
            tried.take(answer, now=self._store.now(), retries=retries, jitter=0)
            await append(self._store, tried)
        if resend:
            given_up = await self._store.get(Delivery, id_)
            assert given_up is not None
            given_up.resend(by=OWNER)
            await append(self._store, given_up)

    async def of_every_kind(self) -> None:
        await self.registered("https://accounts.google.com", "1234")
        other = await self.registered("https://id.example.test", "1234")
        await self.keys_of(other)
        await self.of_a_user()
        await asyncio.gather(
            self.requested(prompt="waits"),
            self.completed(count=2),
            self.partial(),
            self.refused(),
            self.cancelled(),
            self.deleted(),
            self.delivered(),
            self.delivered(Answer(500)),
            self.delivered(Answer(500), Answer(204)),
            self.delivered(Answer(410)),
            self.delivered(Answer(trouble="timed_out"), Answer(500), resend=True),
        )
        await self.called(await self.requested(), 1)


async def up_to_date(store: PostgresEventStore) -> None:
    models = len(read_models.discover())

    async def none_behind() -> bool:
        states = await follower_states(store.fetch)
        return len(states) == models and all(state.behind == 0 for state in states)

    await eventually(none_behind, what="every read model's being up to date")


def followers(database_url: str, **options: Any) -> list[Follower]:
    return [Follower(database_url, model, **options) for model in read_models.discover()]


@pytest.fixture
async def history(database_url: str, store: PostgresEventStore) -> AsyncIterator[History]:
    """With every read model followed."""
    await ensure_tables(database_url)
    async with running(*followers(database_url)):
        yield History(store)


async def page(store: PostgresEventStore, **wanted: Any) -> list[Any]:
    await up_to_date(store)
    user_id: UUID = wanted.pop("user_id", OWNER)
    return await history_page(store.fetch, user_id=user_id, **{"limit": 10} | wanted)


async def test_a_completed_generation_shows_its_pictures_calls_and_costs(
    history: History, store: PostgresEventStore
) -> None:
    wanted = {"prompt": "a\x00b", "spec": {"model": "any", "seed": 5}, "retry_of": uuid4()}
    generation = await history.completed(count=2, **wanted)

    (row,) = await page(store)

    assert (row.id, row.status, row.spec) == (generation.id, "completed", generation.spec)
    assert (row.prompt, row.retry_of) == ("a\ufffdb", wanted["retry_of"])
    assert (row.provider_used, row.model) == ("sketch", "sketch-1")
    assert row.images == generation.published
    assert row.image_url == "https://pictures.test/1"
    assert row.calls == tuple(generation.calls.values())
    assert row.calls[0].cost.amount == Decimal("0.001")
    assert row.created_at <= row.started_at <= row.completed_at


async def test_a_partly_completed_generation_names_the_provider_that_answered(
    history: History, store: PostgresEventStore
) -> None:
    await history.partial()

    (row,) = await page(store)

    assert (row.status, row.missing, len(row.images)) == ("completed", 1, 2)
    assert (row.provider_used, row.model) == ("openai", "openai-1")
    assert [call.outcome for call in row.calls] == ["answered", "failed"]
    assert (row.reference_images, row.mask) == ((REFERENCE,), MASK)


async def test_a_failed_generation_says_why(history: History, store: PostgresEventStore) -> None:
    generation = await history.refused()

    (row,) = await page(store)

    assert row.status == "failed"
    assert (row.error_kind, row.error_message) == generation.error
    assert (row.images, row.image_url, row.missing) == ((), None, 1)
    assert row.completed_at is not None


async def test_a_late_answer_changes_only_the_costs_of_a_cancelled_generation(
    history: History, store: PostgresEventStore
) -> None:
    generation = await history.cancelled()

    (row,) = await page(store)

    assert (row.status, row.images, row.missing) == ("cancelled", (), 2)
    assert row.calls == (Call(1, "sketch", "sketch-1", (1, 2), "answered", COST, {"tokens": 3}),)
    assert row.calls == tuple(generation.calls.values())


async def test_a_deleted_generation_keeps_its_record_without_pictures(
    history: History, store: PostgresEventStore, database_url: str
) -> None:
    await history.deleted()

    (row,) = await page(store)

    assert (row.status, row.prompt) == ("completed", "soon gone")
    assert (row.images, row.image_url) == ((), None)
    assert row.deleted_at is not None
    assert await rows(database_url, "SELECT result FROM jobs") == [({"images": [], "missing": 0},)]


async def test_history_is_its_owners_alone_newest_first_in_pages(
    history: History, store: PostgresEventStore
) -> None:
    ids = [await history.requested() for _ in range(5)]

    first = await page(store, limit=2)
    second = await page(store, limit=10, before=first[-1].position)

    assert [row.id for row in first + second] == ids[::-1]
    assert await page(store, user_id=uuid4()) == []


async def test_the_columns_asked_for_by_name_are_there(
    history: History, store: PostgresEventStore, database_url: str
) -> None:
    google = await history.registered("https://accounts.google.com", "1234")
    other = await history.registered("https://id.example.test", "1234")
    generation = await history.partial()
    await up_to_date(store)

    users = await rows(
        database_url,
        "SELECT id, email, name, picture_url, google_id, created_at = updated_at FROM users",
    )
    jobs = await rows(
        database_url,
        "SELECT id, user_id, type, status, payload, result, error_message,"
        " created_at <= started_at, started_at <= completed_at FROM jobs",
    )
    generations = await rows(
        database_url,
        "SELECT id, user_id, prompt, provider_used, image_url, reference_images_count, status,"
        " created_at < completed_at, error_message FROM image_generations",
    )

    assert set(users) == {
        (google.id, "ada@example.test", "Ada", None, "1234", True),
        (other.id, "ada@example.test", "Ada", None, None, True),
    }
    urls = ["https://pictures.test/1", "https://pictures.test/2"]
    assert jobs == [
        (
            generation.id,
            OWNER,
            "generation",
            "completed",
            {"count": 3, "reference_images": 1},
            {"images": urls, "missing": 1},
            None,
            True,
            True,
        )
    ]
    assert generations == [
        (generation.id, OWNER, "a lighthouse", "openai", urls[0], 1, "completed", True, None)
    ]


async def test_users_are_listed_as_they_are_now(
    history: History, store: PostgresEventStore
) -> None:
    bob = await history.registered("https://id.example.test", "bob", name="Bob 100%")
    eve = await history.registered("https://id.example.test", "eve", name="Eve")
    bob.take_role("administrator", by=OWNER)
    session = uuid4()
    bob.log_in(session=session, token_hash="0", now=store.now(), lasts=HOUR)
    eve.suspend(by=OWNER)
    for user in (bob, eve):
        await store.append(Command(events=user.collect_events()))
    await up_to_date(store)

    async def listed(**wanted: Any) -> list[UUID]:
        return [row.id for row in await users_page(store.fetch, **{"limit": 9} | wanted)]

    assert await listed() == [eve.id, bob.id]
    assert await listed(role="administrator") == [bob.id]
    assert await listed(suspended=True) == [eve.id]
    assert await listed(suspended=False, part="BOB") == [bob.id]
    assert await listed(part="0%") == [bob.id]
    assert await listed(part="%") == [bob.id]
    assert await listed(part="_") == []
    assert await listed(part="ada@") == [eve.id, bob.id]
    newest, oldest = await users_page(store.fetch, limit=9)
    assert await listed(limit=1) == [eve.id]
    assert await listed(before=newest.position) == [bob.id]
    assert (newest.last_login_at, newest.suspended, newest.role) == (None, True, "user")
    assert oldest.last_login_at is not None


async def test_keys_are_listed_the_newest_first_in_pages_and_with_their_last_use(
    history: History, store: PostgresEventStore
) -> None:
    user = await history.registered("https://id.example.test", "7")
    good, revoked = await history.keys_of(user)
    await up_to_date(store)
    (newest,) = await api_keys_page(store.fetch, user_id=user.id, limit=1)
    used_at = store.now()
    await PostgresUses(store).note({newest.id: used_at})
    (newest,) = await api_keys_page(store.fetch, user_id=user.id, limit=1)
    assert (newest.name, newest.prefix, newest.expires_at) == ("revoked", revoked, None)
    assert newest.revoked_at is not None
    assert newest.last_used_at == used_at
    (oldest,) = await api_keys_page(store.fetch, user_id=user.id, limit=9, before=newest.position)
    assert (oldest.prefix, oldest.scopes) == (good, ("generate", "read"))
    assert (oldest.revoked_at, oldest.last_used_at) == (None, None)
    assert await api_keys_page(store.fetch, user_id=OWNER, limit=9) == []


async def test_the_latest_use_is_kept_whoever_notes_it_last(store: PostgresEventStore) -> None:
    uses, key = PostgresUses(store), uuid4()
    later = store.now()
    await uses.note({key: later})
    await uses.note({key: later - HOUR})
    assert await uses.last([key, uuid4()]) == {key: later}


async def test_a_user_is_shown_as_they_are_now(
    history: History, store: PostgresEventStore, database_url: str
) -> None:
    user = await history.of_a_user()
    await up_to_date(store)

    told = await rows(
        database_url,
        "SELECT id, name, email, role, is_suspended, created_at < last_login_at,"
        " last_login_at < updated_at FROM users",
    )

    assert told == [(user.id, "Ada King", "ada@example.test", "administrator", True, True, True)]


@pytest.mark.parametrize("batch", [1000, 7, 1])
async def test_a_rebuild_equals_what_was_built_live(
    store: PostgresEventStore, database_url: str, batch: int
) -> None:
    await ensure_tables(database_url)
    async with running(*followers(database_url)):
        await History(store).of_every_kind()
        await up_to_date(store)
    live = await everything(database_url)
    assert {job[3] for job in live["jobs"]} == set(get_args(Status))

    await rows(database_url, "DELETE FROM follower_positions")
    async with running(*followers(database_url, batch=batch)):
        await up_to_date(store)

    assert await everything(database_url) == live


async def everything(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    return {table: await rows(database_url, query) for table, query in TABLES.items()}


def test_a_new_read_model_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colours.py").write_text(
        "from infrastructure.read_models.read_model import ReadModel\n"
        "READ_MODEL = ReadModel('colours', 1, '', ())\n"
    )
    known = [model.name for model in read_models.discover()]
    monkeypatch.setattr(read_models, "__path__", [*read_models.__path__, str(tmp_path)])

    names = [model.name for model in read_models.discover()]

    assert names == sorted(["colours", *known])
    del sys.modules["infrastructure.read_models.colours"]


async def test_tables_are_ensured_from_many_processes_at_once(database_url: str) -> None:
    await asyncio.gather(*(ensure_tables(database_url) for _ in range(5)))

    positions = await rows(database_url, "SELECT name, version, position FROM follower_positions")
    assert sorted(positions) == [(*model.key, 0) for model in read_models.discover()]
    for query in TABLES.values():
        assert await rows(database_url, query) == []

"""What decisions depend on, compared with the events: each kind of difference, and its mending."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.people import People
from application.ports.event_store import (
    Accepted,
    ClaimWork,
    CloseWork,
    Command,
    HoldWork,
    IdempotencyKey,
    OpenWork,
    ReleaseWork,
    Sending,
    Units,
    Work,
)
from application.units import units_given_back
from domain.aggregate import ClientKey, made_one_by
from domain.failure import Failure
from domain.generation import Generation, Wish
from domain.image import ImageSpec
from domain.quota import windows_at
from domain.user import Profile, User
from infrastructure.event_store import check as check_module
from infrastructure.event_store import repair as repair_module
from infrastructure.event_store.check import READ, Difference, check, compare
from infrastructure.event_store.mapper import UnknownEventError, event_classes
from infrastructure.event_store.repair import UnreadableLogError, repair
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.event_store.work import PostgresWorkBoard
from tests.generations import COST, events_of, new_generation, request_command, stored_image
from tests.integration.following import rows, write_raw

USER, OTHER, EVERYBODY = UUID(int=1), UUID(int=2), UUID(int=0)
DAY = 86_400.0


class Case:
    """A log with generations, and tables that can be spoilt."""

    def __init__(self, url: str, store: PostgresEventStore) -> None:
        self.url, self.store = url, store
        self.board = PostgresWorkBoard(store)
        self.worker = uuid4()

    async def record(self, command: Command) -> None:
        outcome = await self.store.append(command)
        assert isinstance(outcome, Accepted), outcome

    async def place(
        self, count: int = 1, user_id: UUID = USER, end_user: str | None = None
    ) -> Generation:
        now = self.store.now()
        generation = new_generation(now, user_id=user_id, count=count, end_user=end_user)
        await self.record(request_command(generation))
        return await self.loaded(generation)

    async def loaded(self, generation: Generation) -> Generation:
        loaded = await self.store.get(Generation, generation.id)
        assert loaded is not None
        return loaded

    async def change(self, generation: Generation, work: Work | None = None) -> None:
        """Record what it decided."""
        units = units_given_back(generation)
        await self.record(Command(events_of(generation), units, work=work))

    async def claimed(self, count: int = 1) -> Generation:
        """One that the worker has, with its first call under way."""
        await self.board.register(self.worker, slots=9, lease=timedelta(minutes=1))
        generation = await self.place(count)
        await self.record(Command(work=ClaimWork("generate", generation.id, self.worker)))
        generation.start_call(provider="sketch", model="m", images=(1,))
        await self.change(generation, self.hold(generation))
        return generation

    async def completed(self, count: int = 1) -> Generation:
        """One that ended with its first image."""
        generation = await self.claimed(count)
        answer(generation)
        if count > 1:
            generation.start_call(provider="sketch", model="m", images=(2,))
            generation.lose_call(2, reason="a test", repeat_costs=True)
        generation.finish(urls={1: "http://here/1.png"}, now=self.store.now())
        await self.change(generation, CloseWork("generate", generation.id, self.worker))
        return generation

    def hold(self, generation: Generation) -> HoldWork:
        return HoldWork("generate", generation.id, self.worker)

    async def spoil(self, query: str, *parameters: Any) -> None:
        await rows(self.url, query, *parameters)

    async def wrong(self) -> list[tuple[str, str]]:
        return [(found.part, found.problem) for found in await check(self.url)]

    async def mend(self) -> list[Difference]:
        return [mended async for mended in repair(self.url, await compare(self.url))]

    async def spoilt_once(self, part: str, problem: str) -> Difference:
        """Exactly this is wrong, is mended, and is right then."""
        (found,) = await check(self.url)
        assert (found.part, found.problem) == (part, problem)
        assert await self.mend() == [found]
        assert await check(self.url) == []
        assert await self.mend() == []
        return found

    async def counters(self) -> list[Any]:
        return await rows(
            self.url,
            "SELECT user_id, window_type, requests, units FROM quota_counters ORDER BY 1, 2",
        )


def answer(generation: Generation, *, late: bool = False) -> None:
    generation.answer_call(
        1,
        provider_request_id=None,
        usage={},
        cost=COST,
        images=(stored_image(generation.id, 1),),
        late=late,
    )


@pytest.fixture
async def case(database_url: str, store: PostgresEventStore) -> Case:
    return Case(database_url, store)


async def test_an_empty_database_is_as_its_events_say(case: Case) -> None:
    assert await check(case.url) == []


# --- quota ---------------------------------------------------------------------------------------


async def test_counters_agree_while_generations_are_open_and_after_each_kind_of_end(
    case: Case,
) -> None:
    await case.place(3)
    await case.completed(2)
    cancelled = await case.place(2)
    cancelled.cancel(by=USER)
    await case.change(cancelled, CloseWork("generate", cancelled.id))
    failed = await case.claimed(2)
    failed.lose_call(1, reason="a test", repeat_costs=True)
    failed.finish(urls={}, now=failed.deadline + timedelta(days=1))
    await case.change(failed, CloseWork("generate", failed.id, case.worker))
    assert await case.counters() == [(USER, "daily", 4, 4), (USER, "monthly", 4, 4)]
    assert await check(case.url) == []


async def test_an_end_users_counters_agree_whether_or_not_units_were_taken_from_theirs(
    case: Case,
) -> None:
    counted = await case.place(3, end_user="customer 17")
    uncounted = Generation.request(
        id=uuid4(),
        user_id=USER,
        spec=ImageSpec(count=2),
        wish=Wish(prompt="a fox", end_user="customer 17"),
        windows=windows_at(case.store.now()),
    )
    await case.record(request_command(uncounted))
    for generation in (counted, await case.loaded(uncounted)):
        generation.cancel(by=USER)
        await case.change(generation, CloseWork("generate", generation.id))
    await case.place(1, end_user="customer 17")
    assert counted.end_user_id == uncounted.end_user_id
    assert [row for row in await case.counters() if row[0] == counted.end_user_id] == [
        (counted.end_user_id, "end-user-daily", 2, 1),
        (counted.end_user_id, "end-user-monthly", 2, 1),
    ]
    assert await check(case.url) == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        ("UPDATE quota_counters SET units = 1 WHERE window_type = 'end-user-daily'", "differs"),
        ("DELETE FROM quota_counters WHERE window_type = 'end-user-monthly'", "missing"),
    ],
)
async def test_an_end_users_counter_is_compared_and_mended(
    case: Case, spoil: str, problem: str
) -> None:
    generation = await case.place(3, end_user="customer 17")
    await case.place(1, OTHER, end_user="customer 17")
    right = await case.counters()
    await case.spoil(f"{spoil} AND user_id = %s", generation.end_user_id)
    found = await case.spoilt_once("quota", problem)
    assert (found.user_id, found.expected) == (generation.end_user_id, {"requests": 1, "units": 3})
    assert await case.counters() == right


async def test_rate_limits_are_shown_apart_for_users_and_end_users(case: Case) -> None:
    generation = await case.place(3, end_user="customer 17")
    query = "SELECT {}, window_type, request_count, units FROM {} ORDER BY 2"
    assert await rows(case.url, query.format("user_id", "rate_limits")) == [
        (USER, "daily", 1, 3),
        (USER, "monthly", 1, 3),
    ]
    assert await rows(case.url, query.format("end_user_id", "end_user_rate_limits")) == [
        (generation.end_user_id, "daily", 1, 3),
        (generation.end_user_id, "monthly", 1, 3),
    ]


@pytest.mark.parametrize("change", ["units = units + 1", "units = units - 5", "requests = 9"])
async def test_a_counter_that_differs_is_named_and_mended(case: Case, change: str) -> None:
    await case.place(2)
    await case.place(1, OTHER)
    right = await case.counters()
    await case.spoil(
        f"UPDATE quota_counters SET {change} WHERE user_id = %s AND window_type = 'daily'", USER
    )
    found = await case.spoilt_once("quota", "differs")
    assert (found.user_id, found.place["window_type"]) == (USER, "daily")
    assert found.expected == {"requests": 1, "units": 2}
    assert await case.counters() == right


async def test_a_counter_that_is_missing_is_named_and_made_again(case: Case) -> None:
    await case.completed(2)
    right = await case.counters()
    await case.spoil("DELETE FROM quota_counters WHERE window_type = 'monthly'")
    found = await case.spoilt_once("quota", "missing")
    assert (found.found, found.expected) == (None, {"requests": 1, "units": 1})
    assert await case.counters() == right


async def test_a_counter_without_events_is_named_and_removed(case: Case) -> None:
    await case.place()
    right = await case.counters()
    await case.spoil("INSERT INTO quota_counters VALUES (%s, 'daily', '2020-02-02Z', 0, 0)", OTHER)
    found = await case.spoilt_once("quota", "unexplained")
    assert (found.user_id, found.expected) == (OTHER, None)
    assert found.place == {"window_type": "daily", "starts_at": "2020-02-02T00:00:00+00:00"}
    assert await case.counters() == right


async def test_what_was_recorded_after_the_snapshot_counts_when_it_is_mended(case: Case) -> None:
    cancelled = await case.place(4)
    await case.spoil("UPDATE quota_counters SET units = 70 WHERE window_type = 'daily'")
    await case.spoil("DELETE FROM quota_counters WHERE window_type = 'monthly'")
    snapshot = await compare(case.url)
    await case.place(2)
    cancelled.cancel(by=USER)
    await case.change(cancelled, CloseWork("generate", cancelled.id))
    assert len([mended async for mended in repair(case.url, snapshot)]) == 2
    assert await case.counters() == [(USER, "daily", 2, 2), (USER, "monthly", 2, 2)]
    assert await check(case.url) == []


async def test_what_is_recorded_while_it_is_mended_counts(case: Case) -> None:
    for user_id in (USER, OTHER):
        await case.place(2, user_id)
    await case.spoil("UPDATE quota_counters SET units = 70 WHERE window_type = 'daily'")
    mending = repair(case.url, await compare(case.url))
    assert (await anext(mending)).user_id == USER
    await case.place(3, OTHER)
    assert [mended.expected async for mended in mending] == [{"requests": 2, "units": 5}]
    assert await check(case.url) == []


# --- limits --------------------------------------------------------------------------------------


LIMITS = "SELECT window_type, units FROM quota_limits ORDER BY 1"


async def limited(case: Case, **limits: int | None) -> UUID:
    """A user who had other limits before."""
    user = User.register(issuer="a test", role="user", profile=Profile(subject="jane"))
    await case.record(Command(events=user.collect_events()))
    people = People(case.store)
    await people.limit(user.id, {"daily": 99, "monthly": 999}, by=USER)
    await people.limit(user.id, limits, by=USER)
    return user.id


async def test_a_limit_that_no_event_explains_is_named_and_removed(case: Case) -> None:
    await case.spoil("INSERT INTO quota_limits VALUES (%s, 'daily', NULL)", USER)
    found = await case.spoilt_once("limits", "unexplained")
    assert (found.place, found.found) == ({"window_type": "daily"}, {"units": None})
    assert await rows(case.url, LIMITS) == []


@pytest.mark.parametrize(
    ("spoil", "problem", "place"),
    [
        ("DELETE FROM quota_limits WHERE window_type = 'daily'", "missing", "daily"),
        ("DELETE FROM quota_limits WHERE window_type = 'monthly'", "missing", "monthly"),
        ("UPDATE quota_limits SET units = 99 WHERE window_type = 'daily'", "differs", "daily"),
        ("UPDATE quota_limits SET units = NULL WHERE window_type = 'daily'", "differs", "daily"),
        ("UPDATE quota_limits SET units = 0 WHERE window_type = 'monthly'", "differs", "monthly"),
    ],
)
async def test_a_limit_that_is_not_as_the_newest_event_says_is_named_and_mended(
    case: Case, spoil: str, problem: str, place: str
) -> None:
    user = await limited(case, daily=0, monthly=None)
    assert await check(case.url) == []
    await case.spoil(spoil)
    found = await case.spoilt_once("limits", problem)
    assert (found.user_id, found.place) == (user, {"window_type": place})
    assert await rows(case.url, LIMITS) == [("daily", 0), ("monthly", None)]


async def test_a_limit_that_was_taken_back_is_as_if_it_had_never_been(case: Case) -> None:
    user = await limited(case)
    assert await rows(case.url, LIMITS) == []
    assert await check(case.url) == []
    await case.spoil("INSERT INTO quota_limits VALUES (%s, 'daily', 99)", user)
    await case.spoilt_once("limits", "unexplained")


async def test_a_limit_that_was_changed_after_the_snapshot_stays_as_it_is(case: Case) -> None:
    user = await limited(case, daily=5)
    await case.spoil("UPDATE quota_limits SET units = 99")
    snapshot = await compare(case.url)
    await People(case.store).limit(user, {"daily": 7}, by=USER)
    assert [mended async for mended in repair(case.url, snapshot)] == []
    assert await rows(case.url, LIMITS) == [("daily", 7)]


# --- work ----------------------------------------------------------------------------------------


async def test_an_open_generation_without_work_is_named_and_given_some(case: Case) -> None:
    generation = await case.claimed()
    right = await rows(case.url, "SELECT kind, ref, user_id, deadline FROM work")
    await case.spoil("DELETE FROM work")
    found = await case.spoilt_once("work", "missing")
    assert found.place == {"kind": "generate", "ref": str(generation.id)}
    assert await rows(case.url, "SELECT kind, ref, user_id, deadline FROM work") == right
    (due,) = await case.board.next_due(after_user=uuid4(), limit=9, handed_over=[])
    assert (due.ref, due.user_id) == (generation.id, USER)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("user_id = '00000000-0000-0000-0000-000000000002'", "owner"),
        ("deadline = deadline + interval '1 hour'", "deadline"),
        ("deadline = deadline - interval '1 hour'", "deadline"),
        ("worker = '00000000-0000-0000-0000-000000000009'", "worker"),
        ("due_at = due_at + interval '1 day'", "late"),
    ],
)
async def test_work_that_differs_is_named_and_mended(case: Case, change: str, problem: str) -> None:
    await case.place()
    await case.spoil(f"UPDATE work SET {change}")
    await case.spoilt_once("work", problem)
    assert len(await case.board.next_due(after_user=uuid4(), limit=9, handed_over=[])) == 1


@pytest.mark.parametrize("change", ["deadline = deadline + interval '1 h'", "user_id = ref"])
async def test_mending_lets_work_wait_for_its_time(case: Case, change: str) -> None:
    await case.place()
    await case.spoil(f"UPDATE work SET due_at = now() + interval '5 min', {change}")
    before = await rows(case.url, "SELECT due_at FROM work")
    assert len(await case.mend()) == 1
    assert await rows(case.url, "SELECT due_at FROM work") == before


async def test_work_of_a_kind_that_this_release_does_not_know_is_named_and_left(
    case: Case,
) -> None:
    await case.spoil(
        "INSERT INTO work VALUES ('webhook', %s, %s, now(), 0, NULL, now())", uuid4(), USER
    )
    before = await rows(case.url, "SELECT * FROM work")
    assert await case.wrong() == [("work", "unknown")]
    assert await case.mend() == []
    assert await rows(case.url, "SELECT * FROM work") == before


async def test_mending_leaves_work_with_the_worker_that_has_it(case: Case) -> None:
    await case.claimed()
    await case.spoil("UPDATE work SET deadline = deadline - interval '1 hour'")
    await case.spoilt_once("work", "deadline")
    assert await rows(case.url, "SELECT worker FROM work") == [(case.worker,)]


@pytest.mark.parametrize("kind", ["generate", "delete"])
async def test_work_that_no_event_explains_is_named_and_removed(case: Case, kind: str) -> None:
    generation = await case.completed()
    for ref in (generation.id, uuid4()):
        await case.spoil(
            "INSERT INTO work VALUES (%s, %s, %s, now(), 0, NULL, now())", kind, ref, USER
        )
        await case.spoilt_once("work", "unexplained")
    assert await rows(case.url, "SELECT * FROM work") == []


async def test_a_cancelled_generation_may_have_work_to_tidy_up(case: Case) -> None:
    generation = await case.claimed()
    generation.cancel(by=USER)
    await case.change(generation)
    assert await check(case.url) == []
    await case.spoil("DELETE FROM work")
    await case.spoilt_once("work", "missing")  # nobody would record what became of its call
    answer(generation)
    await case.change(generation)
    assert await check(case.url) == []
    await case.spoil("DELETE FROM work")
    assert await check(case.url) == []


async def test_a_cancelled_generation_whose_call_failed_may_still_have_its_work(
    case: Case,
) -> None:
    generation = await case.claimed()
    generation.cancel(by=USER)
    await case.change(generation)
    failure = Failure(kind="moderation_input", message="a test")
    generation.fail_call(1, failure, now=case.store.now(), jitter=0)
    await case.change(generation, case.hold(generation))
    assert await check(case.url) == []


async def test_what_answered_late_may_leave_work_to_tidy_up(case: Case) -> None:
    generation = await case.completed(2)
    generation.answer_call(2, provider_request_id=None, usage={}, cost=COST, images=(), late=True)
    await case.change(generation, OpenWork("generate", generation.id, USER, timedelta()))
    assert await check(case.url) == []


async def test_pictures_that_were_not_published_may_leave_work(case: Case) -> None:
    generation = await case.claimed()
    answer(generation)
    generation.finish(urls={}, now=generation.deadline + timedelta(days=1))
    await case.change(generation, case.hold(generation))
    assert await check(case.url) == []
    await case.spoil("DELETE FROM work")
    assert await check(case.url) == []


async def test_a_deleted_generation_may_have_work_to_erase_its_pictures(case: Case) -> None:
    generation = await case.completed()
    generation.delete(by=USER)
    await case.change(generation, OpenWork("delete", generation.id, USER, timedelta(days=30)))
    assert await check(case.url) == []
    await case.spoil("UPDATE work SET user_id = %s", OTHER)
    await case.spoilt_once("work", "owner")
    await case.spoil("DELETE FROM work")
    assert await check(case.url) == []


async def test_work_that_waits_for_its_time_or_is_over_its_deadline_is_right(case: Case) -> None:
    waiting = await case.claimed()
    later = case.store.now() + timedelta(minutes=9)
    await case.change(waiting, ReleaseWork("generate", waiting.id, case.worker, later))
    overdue = new_generation(case.store.now(), user_id=USER, deadline=timedelta(seconds=0.001))
    await case.record(request_command(overdue))
    await case.record(Command(work=CloseWork("generate", overdue.id)))
    await case.record(Command(work=OpenWork("generate", overdue.id, USER, timedelta())))
    assert await check(case.url) == []


# --- in flight -----------------------------------------------------------------------------------

IN_FLIGHT = "SELECT user_id, generations FROM in_flight WHERE generations <> 0 ORDER BY user_id"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE in_flight SET generations = generations + 1 WHERE user_id = %s", "differs"),
        ("UPDATE in_flight SET generations = 0 WHERE user_id = %s", "differs"),
        ("DELETE FROM in_flight WHERE user_id = %s", "missing"),
    ],
)
@pytest.mark.parametrize(("owner", "whose"), [(USER, "user"), (EVERYBODY, "all")])
async def test_a_wrong_count_of_what_is_in_flight_is_named_and_mended(
    case: Case, change: str, problem: str, owner: UUID, whose: str
) -> None:
    await case.place()
    await case.claimed()
    await case.place(user_id=OTHER)
    await case.completed()
    right = await rows(case.url, IN_FLIGHT)
    assert right == [(EVERYBODY, 3), (USER, 2), (OTHER, 1)]
    await case.spoil(change, owner)
    found = await case.spoilt_once("in-flight", problem)
    assert (found.user_id, found.place) == (owner, {"whose": whose})
    assert await rows(case.url, IN_FLIGHT) == right


async def test_a_count_of_a_user_without_work_is_named_and_mended(case: Case) -> None:
    await case.completed()
    assert await rows(case.url, IN_FLIGHT) == []
    assert await check(case.url) == []
    await case.spoil("INSERT INTO in_flight VALUES (%s, 2)", OTHER)
    await case.spoilt_once("in-flight", "unexplained")
    assert await rows(case.url, IN_FLIGHT) == []


async def test_work_and_its_count_may_both_be_wrong(case: Case) -> None:
    for _ in range(3):
        await case.place()
    await case.spoil("DELETE FROM work WHERE ref = (SELECT ref FROM work LIMIT 1)")
    await case.spoil("UPDATE in_flight SET generations = 9")
    assert len(await case.mend()) == 3
    assert await check(case.url) == []
    assert await rows(case.url, IN_FLIGHT) == [(EVERYBODY, 3), (USER, 3)]


# --- idempotency ---------------------------------------------------------------------------------


async def keyed(case: Case, name: str = "k", keep: float = DAY) -> Generation:
    """One that was asked for with a client's key."""
    with made_one_by(ClientKey(key=name, fingerprint="f", keep_seconds=keep)):
        generation = new_generation(case.store.now(), user_id=USER)
    key = IdempotencyKey(USER, name, "f", generation.id, timedelta(seconds=keep))
    placing = request_command(generation)
    await case.record(Command(placing.events, placing.units, key, placing.work))
    return generation


KEYS = "SELECT user_id, key, fingerprint, ref, expires_at FROM idempotency_keys ORDER BY key"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("DELETE FROM idempotency_keys", "missing"),
        ("UPDATE idempotency_keys SET fingerprint = 'g'", "differs"),
        ("UPDATE idempotency_keys SET ref = gen_random_uuid()", "differs"),
        ("UPDATE idempotency_keys SET expires_at = '2020-02-02Z'", "differs"),
    ],
)
async def test_a_key_that_is_not_as_its_event_says_is_named_and_mended(
    case: Case, change: str, problem: str
) -> None:
    await keyed(case)
    right = await rows(case.url, KEYS)
    assert await check(case.url) == []
    await case.spoil(change)
    await case.spoilt_once("idempotency", problem)
    assert await rows(case.url, KEYS) == right


async def test_a_key_of_a_later_command_is_mended_too(case: Case) -> None:
    generation = await case.place()
    with made_one_by(ClientKey(key="k", fingerprint="f", keep_seconds=DAY)):
        generation.cancel(by=USER)
    key = IdempotencyKey(USER, "k", "f", generation.id)
    units = Units(USER, -1, generation.windows)
    done = CloseWork("generate", generation.id)
    await case.record(Command(events_of(generation), units, key, done))
    right = await rows(case.url, KEYS)
    await case.spoil("DELETE FROM idempotency_keys")
    await case.spoilt_once("idempotency", "missing")
    assert await rows(case.url, KEYS) == right


@pytest.mark.parametrize("change", ["sendings = NULL", "sendings = '{2}'"])
async def test_what_says_which_sendings_came_is_mended_by_the_one_that_was_recorded(
    case: Case, change: str
) -> None:
    with made_one_by(ClientKey(key="s", fingerprint="f", keep_seconds=DAY, sending=1)):
        generation = new_generation(case.store.now(), user_id=USER)
    sending = Sending(1, case.store.now())
    key = IdempotencyKey(USER, "s", "f", generation.id, timedelta(seconds=DAY), sending)
    placing = request_command(generation)
    await case.record(Command(placing.events, placing.units, key, placing.work))
    await case.spoil("UPDATE idempotency_keys SET sendings = '{1,2}'")
    assert await check(case.url) == [], "a later sending that came is in no event"

    await case.spoil(f"UPDATE idempotency_keys SET {change}")
    await case.spoilt_once("idempotency", "differs")
    assert await rows(case.url, "SELECT sendings FROM idempotency_keys") == [([1],)]


async def test_keys_whose_time_is_over_do_not_matter(case: Case) -> None:
    await keyed(case, keep=0.001)
    await case.spoil(
        "INSERT INTO idempotency_keys VALUES (%s, 'old', 'f', %s, '2020-02-02Z')", USER, uuid4()
    )
    assert await check(case.url) == []
    await case.spoil("DELETE FROM idempotency_keys")
    assert await check(case.url) == []


async def test_a_key_without_an_event_is_right_if_it_is_about_something_of_its_owners(
    case: Case,
) -> None:
    mine, theirs = await case.place(), await case.place(user_id=OTHER)
    await case.record(Command(idempotency=IdempotencyKey(USER, "again", "f", mine.id)))
    assert await check(case.url) == []
    for ref in (uuid4(), theirs.id):
        await case.spoil(
            "INSERT INTO idempotency_keys VALUES (%s, 'k', 'f', %s, now() + interval '1 h')",
            USER,
            ref,
        )
        await case.spoilt_once("idempotency", "unexplained")


async def test_a_key_that_was_used_again_after_it_was_lost_is_the_later_commands(
    case: Case,
) -> None:
    await keyed(case)
    await case.spoil("DELETE FROM idempotency_keys")
    snapshot = await compare(case.url)
    again = await keyed(case)
    assert [mended async for mended in repair(case.url, snapshot)] == []
    assert await rows(case.url, "SELECT ref FROM idempotency_keys") == [(again.id,)]
    assert await check(case.url) == []


# --- all of it -----------------------------------------------------------------------------------


async def test_what_is_right_by_now_is_not_mended(case: Case) -> None:
    generation = await case.place(2)
    await case.spoil("UPDATE quota_counters SET units = 7")
    await case.spoil("UPDATE work SET user_id = %s", OTHER)
    snapshot = await compare(case.url)
    assert len(snapshot.differences) == 3
    await case.spoil("UPDATE quota_counters SET units = 2")
    await case.spoil("DELETE FROM work")
    generation.cancel(by=USER)
    await case.change(generation)
    assert [mended async for mended in repair(case.url, snapshot)] == []
    assert await check(case.url) == []


async def test_of_very_many_differences_the_first_are_named_and_mended(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_module, "MOST_DIFFERENCES", 3)
    monkeypatch.setattr(repair_module, "MOST_AT_ONCE", 2)
    for _ in range(5):
        await case.place()
    await case.spoil("DELETE FROM work")
    for more in (True, False):
        snapshot = await compare(case.url)
        assert [part.part for part in snapshot.compared if part.more] == ["work"] * more
        assert len(await case.mend()) == len(snapshot.differences) == (3 if more else 2)
    assert await check(case.url) == []


def test_the_check_reads_every_event_of_a_generation_and_of_limits_in_its_current_version() -> None:
    """A new event or version: say in check.sql what it means to quota, limits, work and keys."""
    read = [*event_classes([Generation]).values(), User.QuotaChanged]
    assert {event: event.version for event in read} == READ


@pytest.mark.parametrize("topic", ["generation.requested@2", "user.quota_changed@2"])
async def test_events_of_a_newer_release_are_not_guessed_at(case: Case, topic: str) -> None:
    await write_raw(case.url, topic, "{}")
    with pytest.raises(UnknownEventError, match=topic):
        await check(case.url)


async def test_a_prompt_may_hold_a_nul(case: Case) -> None:
    generation = new_generation(case.store.now(), user_id=USER, prompt="a \x00 b \\u0000 c")
    await case.record(request_command(generation))
    assert await check(case.url) == []
    ((said,),) = await rows(case.url, "SELECT event ->> 'personal' FROM events")
    assert "a \ufffd b \\\\u0000 c" in said


@pytest.mark.parametrize("state", [b'{"prompt": "a secret", oops}', b'{"prompt": "\xff"}'])
async def test_an_event_that_cannot_be_read_is_named_the_rest_compared_and_nothing_mended(
    case: Case, state: bytes
) -> None:
    await case.place()
    await case.spoil("UPDATE quota_counters SET units = 9 WHERE window_type = 'daily'")
    ref = uuid4()
    await case.spoil(
        "INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)"
        " VALUES (%s, 1, 'generation.cancelled@1', %s, now())",
        ref,
        state,
    )
    unreadable, counter = await check(case.url)
    assert (unreadable.part, unreadable.problem) == ("events", "unreadable")
    assert unreadable.place["ref"] == str(ref)
    assert (counter.part, counter.problem) == ("quota", "differs")
    with pytest.raises(UnreadableLogError):
        await case.mend()
    assert await check(case.url) == [unreadable, counter]

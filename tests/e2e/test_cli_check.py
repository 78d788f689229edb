"""`darkroom check`: what is not as the events say is named, and mended beside the service."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from infrastructure.beside_up import left_for_others
from tests.conftest import PostgresServer
from tests.e2e.stack import Stack
from tests.e2e.typed import Typed, darkroom, on_a_terminal
from tests.integration.following import write_raw

LAST = UUID(int=2**128 - 1)  # who is mended after all others
NOBODY_THERE = "postgresql://darkroom:hidden-word@127.0.0.1:1/darkroom"
WELL = """\
✓ events       2 events
✓ quota        2 counters
✓ limits       0 limits of users' own
✓ work         1 pieces of work
✓ in-flight    2 counters
✓ idempotency  1 keys

All is as the events say.
"""
SPOIL = """
UPDATE quota_counters SET units = 9 WHERE window_type = 'daily';
INSERT INTO quota_limits SELECT user_id, 'monthly', 7 FROM quota_counters LIMIT 1;
DELETE FROM work;
UPDATE idempotency_keys SET fingerprint = 'spoilt';
"""


@dataclass
class Operator:
    """Somebody beside a service with one generation, asked for with a key."""

    stack: Stack
    folder: Path

    async def types(self, *arguments: str) -> Typed:
        url = self.stack.container.database_url()
        return await darkroom("check", *arguments, folder=self.folder, DATABASE_URL=url)


@pytest.fixture
async def operator(stack: Stack, tmp_path: Path) -> Operator:
    answer = await stack.client.post(
        "/api/v1/generations",
        json={"prompt": "a lighthouse", "count": 2},
        headers={"Prefer": "respond-async", "Idempotency-Key": "jane@example.org"},
    )
    assert answer.status_code == 202
    return Operator(stack, tmp_path)


async def test_where_all_is_well_it_says_what_it_looked_at(operator: Operator) -> None:
    typed = await operator.types()
    assert (typed.status, typed.out, typed.err) == (0, WELL, "")


async def test_what_differs_is_named_part_by_part_and_nothing_is_changed(
    operator: Operator,
) -> None:
    await operator.stack.rows(SPOIL)
    for _ in range(2):
        typed = await operator.types()
        assert typed.status == 1
        assert "✗ quota        2 counters, 1 difference\n" in typed.out
        assert "\tunits 9\tunits 2\n" in typed.out
        assert "monthly limit of their own\t" in typed.out
        assert "\tunits 7\tno row\n" in typed.out
        assert "\tno row\tuser " in typed.out
        assert "\tfingerprint spoilt\tfingerprint " in typed.out
        assert typed.out.endswith("4 differences: `darkroom check --repair` mends them.\n")


async def test_what_differs_is_mended_and_the_log_says_for_whom(operator: Operator) -> None:
    await operator.stack.rows(SPOIL)
    typed = await operator.types("--repair")
    assert typed.status == 0
    assert typed.out.endswith("\n4 mended.\n")
    (entry,) = [json.loads(line) for line in typed.err.splitlines()]
    assert (entry["event"], entry["rows"]) == ("mended what the events say otherwise", 4)
    again = await operator.types("--repair")
    assert (again.status, again.out, again.err) == (0, WELL, "")
    await operator.stack.perform_all()
    assert await operator.stack.rows("SELECT * FROM work") == []
    assert (await operator.types()).status == 0


async def test_wrong_counters_of_what_is_in_flight_are_named(operator: Operator) -> None:
    await operator.stack.rows("UPDATE in_flight SET generations = 7")
    typed = await operator.types()
    assert "✗ in-flight    2 counters, 2 differences\n" in typed.out
    for whose in ("all", "user"):
        assert f"generations in flight of {whose}\t" in typed.out
    assert typed.out.count("\tgenerations 7\tgenerations 1\n") == 2


async def test_machines_get_json_without_a_whole_key(operator: Operator) -> None:
    ((key,),) = await operator.stack.rows("SELECT key FROM idempotency_keys")
    assert (await operator.types("--json")).json["differences"] == []
    await operator.stack.rows(SPOIL)
    typed = await operator.types("--json", "--repair")
    found = typed.json
    assert (typed.status, found["ok"], found["more"]) == (0, False, False)
    assert [part["differences"] for part in found["parts"]] == [0, 1, 1, 1, 0, 1]
    assert found["mended"] == sorted(
        found["differences"],
        key=lambda d: ["quota", "limits", "idempotency", "work"].index(d["part"]),
    )
    quota = found["differences"][0]
    assert (quota["part"], quota["problem"]) == ("quota", "differs")
    assert (quota["found"]["units"], quota["expected"]["units"]) == (9, 2)
    assert key not in typed.out + typed.err
    assert f"{key[:8]}…" in typed.out


async def test_a_terminal_shows_a_table(operator: Operator) -> None:
    await operator.stack.rows(SPOIL)
    shown = on_a_terminal("check", DATABASE_URL=operator.stack.container.database_url())
    assert "the events say" in shown
    assert "daily units since" in shown


# --- where it cannot look ------------------------------------------------------------------------


async def test_beside_up_its_database_is_found(operator: Operator) -> None:
    url = operator.stack.container.database_url()
    beside = operator.folder / "beside"
    beside.mkdir()
    with left_for_others(beside, {"DATABASE_URL": url, "REDIS_URL": "redis://unused"}):
        typed = await darkroom("check", folder=beside, DARKROOM_DATA_DIR=str(beside))
    assert (typed.status, typed.out) == (0, WELL)
    nowhere = await darkroom("check", folder=beside, DARKROOM_DATA_DIR=str(beside))
    nowhere.refused(2, "DATABASE_URL is not set. `darkroom up` does not run on")


async def test_a_database_that_cannot_be_looked_at_is_told_apart_from_one_that_differs(
    operator: Operator, postgres_server: PostgresServer
) -> None:
    away = await darkroom("check", folder=operator.folder, DATABASE_URL=NOBODY_THERE)
    away.refused(6, "It was not checked to the end: ", "Connection refused")
    empty = postgres_server.new_database()
    bare = await darkroom("check", folder=operator.folder, DATABASE_URL=empty)
    bare.refused(6, "run `darkroom migrate`")
    await write_raw(operator.stack.container.database_url(), "garden.painted@1", "{}")
    (await operator.types()).refused(6, "does not know the event 'garden.painted@1'")


async def test_what_cannot_be_read_is_told_without_its_words_and_keeps_the_rest_as_it_is(
    operator: Operator,
) -> None:
    await operator.stack.rows(SPOIL)
    url = operator.stack.container.database_url()
    await write_raw(url, "generation.cancelled@1", '{"by": "a hidden wish", oops}')
    before = await operator.stack.rows("SELECT * FROM quota_counters")

    named, kept = await operator.types(), await operator.types("--repair", "--json")

    assert (named.status, kept.status) == (1, 1)
    assert "\tnobody knows whose\tcannot be read\t" in named.out
    assert "Nothing was mended, because some events cannot be read" in kept.err
    assert kept.json["mended"] == []
    assert "hidden" not in named.out + named.err + kept.out + kept.err
    assert await operator.stack.rows("SELECT * FROM quota_counters") == before


async def test_what_makes_no_sense_in_an_event_is_not_repeated(operator: Operator) -> None:
    url = operator.stack.container.database_url()
    await write_raw(url, "generation.requested@1", '{"user_id": "a hidden wish", "units": 1}')
    typed = await operator.types()
    typed.refused(6, "It was not checked to the end: InvalidTextRepresentation")
    assert "hidden" not in typed.out + typed.err


async def test_what_only_a_newer_release_knows_is_left_to_it(operator: Operator) -> None:
    await operator.stack.rows(
        "INSERT INTO work (kind, ref, user_id, due_at, deadline)"
        " SELECT 'webhook', ref, user_id, due_at, deadline FROM work"
    )
    for arguments in ((), ("--repair",)):
        typed = await operator.types(*arguments)
        assert typed.status == 1
        assert typed.out.endswith("\n0 mended. 1 difference left to the newer release.\n")


async def test_what_was_mended_before_it_was_cut_short_is_told(operator: Operator) -> None:
    await operator.stack.rows(SPOIL)
    await operator.stack.rows(
        f"INSERT INTO quota_counters VALUES ('{LAST}', 'daily', '2020-01-01', 1, 1)"
    )
    url = operator.stack.container.database_url()
    async with await psycopg.AsyncConnection.connect(url) as holder:
        await holder.execute("SELECT * FROM quota_counters WHERE user_id = %s FOR UPDATE", (LAST,))
        typed = await operator.types("--repair", "--json")

    assert typed.status == 6
    assert "Only 4 of 5 differences were mended, run it again: LockNotAvailable" in typed.err
    assert len(typed.json["mended"]) == 4

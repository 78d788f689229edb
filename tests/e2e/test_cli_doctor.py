"""`darkroom doctor`: what is wrong is found and named, each with its remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from application.ports.images import Mark
from infrastructure.beside_up import left_for_others
from infrastructure.connection_budget import connections_of_each
from infrastructure.doctor import Finding, examine
from infrastructure.event_store.connections import connect
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.leadership import leadership
from infrastructure.read_models import discover
from tests.conftest import PostgresServer
from tests.e2e.stack import LEASE, Stack, free_port, running, settings_for
from tests.e2e.typed import Typed, darkroom
from tests.integration.following import rows, write_raw
from tests.pooler import Pooler
from tests.processes import ADMIN_KEY, eventually, processes
from tests.servers.openid import CLIENT, SECRET, OpenIdServer
from tests.servers.protocol import serving
from tests.servers.supabase import KEY, SupabaseServer

NOBODY_THERE = "postgresql://darkroom:hidden-word@127.0.0.1:1/darkroom"
NO_REDIS = "redis://:hidden-word@127.0.0.1:1/0"
PROCESSES = ("worker", "projector")


@dataclass
class Patient:
    """A Darkroom, and what doctor finds of it."""

    stack: Stack
    folder: Path

    async def examined(self, *arguments: str, **changed: str) -> Typed:
        environment = self.stack.settings.environ() | changed
        environment = {name: text for name, text in environment.items() if text}
        return await darkroom("doctor", *arguments, folder=self.folder, **environment)

    async def found(self, **changed: str) -> dict[str, Finding]:
        """What it looks at, without the command around it, which is as slow to start as any."""
        environment = self.stack.settings.environ() | changed
        return {one.name: one async for one in examine(environment)}

    async def told(self, **changed: str) -> dict[str, dict[str, Any]]:
        """As the command tells programs."""
        typed = await self.examined("--json", **changed)
        assert "hidden" not in typed.out + typed.err
        assert ADMIN_KEY not in typed.out + typed.err
        findings = {finding["name"]: finding for finding in typed.json["findings"]}
        wrong = [finding for finding in findings.values() if finding["state"] != "ok"]
        assert (typed.status, typed.json["ok"]) == (int(bool(wrong)), not wrong)
        return findings


@pytest.fixture
async def patient(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Patient]:
    """An API without worker and projector."""
    async with running(settings_for(tmp_path / "data", database_url, redis_url)) as stack:
        yield Patient(stack, tmp_path)


@pytest.mark.slow
async def test_all_is_well_where_everything_runs(patient: Patient) -> None:
    with processes(patient.folder, **patient.stack.settings.environ()) as started:
        for name in PROCESSES:
            started.start(name)

        async def healthy() -> bool:
            return (await patient.examined()).status == 0

        await eventually(healthy, why="doctor finds something")
        typed, findings = await patient.examined(), await patient.told()
    assert typed.out.endswith("All is well.\n")
    at_work = findings["connections"]["facts"]["processes"]
    assert at_work == {"api": 1, "worker": 1, "projector": 1}
    marks = [line[0] for line in typed.lines[:-2]]
    assert marks == ["✓"] * len(marks)
    for name in (
        "configuration",
        "sessions",
        "connections",
        "redis",
        "workers",
        "image store",
        "orphaned files",
    ):
        assert f"✓ {name}  " in typed.out


async def test_who_does_not_run_is_missed(patient: Patient) -> None:
    findings = await patient.told()
    assert findings["database"]["state"] == findings["redis"]["state"] == "ok"
    assert findings["workers"]["sentence"] == "Nobody is at work."
    assert findings["workers"]["remedy"] == "Start `darkroom worker`."
    for model in discover():
        assert findings[f"read model {model.name}"]["remedy"] == "Start `darkroom projector`."
    typed = await patient.examined()
    said = [" ".join(line.split()) for line in typed.lines]
    assert "! workers Nobody is at work." in said
    assert "→ Start `darkroom worker`." in said
    assert typed.out.endswith(" findings need you.\n")


async def test_every_mistake_of_the_configuration_is_told(patient: Patient) -> None:
    typed = await patient.examined(DARKROOM_WAIT_SECONDS="x", DARKROOM_LEASE_SECONDS="0")
    assert typed.status == 1
    said = " ".join(typed.out.split())
    assert "✗ configuration DARKROOM_WAIT_SECONDS must be a number, not 'x'." in said
    assert "✗ configuration DARKROOM_LEASE_SECONDS must be more than 0" in said
    assert "– servers Not looked at until the configuration is right." in said


async def test_servers_that_are_away_are_told_apart(patient: Patient) -> None:
    findings = await patient.told(DATABASE_URL=NOBODY_THERE)
    assert "port 1 failed: Connection refused" in findings["database"]["sentence"]
    assert findings["schema"]["state"] == "unknown"
    assert findings["redis"]["state"] == findings["image store"]["state"] == "ok"
    findings = await patient.told(REDIS_URL=NO_REDIS)
    assert findings["database"]["state"] == "ok"
    assert findings["redis"]["sentence"].startswith("Redis does not answer")


async def test_a_schema_that_is_not_there_or_old_is_to_be_migrated(
    patient: Patient, postgres_server: PostgresServer
) -> None:
    findings = await patient.found(DATABASE_URL=postgres_server.new_database())
    assert findings["schema"].sentence == "The database has no schema."
    await patient.stack.rows("UPDATE log SET made_of = 'something else'")
    findings = await patient.found()
    assert findings["schema"].sentence.startswith("It was made by an earlier build")
    await patient.stack.rows("UPDATE alembic_version SET version_num = '0000'")
    findings = await patient.found()
    assert findings["schema"].sentence == "The schema is an older release's."
    assert findings["schema"].remedy == "Run `darkroom migrate`."


async def test_parked_aggregates_and_lag_are_told_of_each_read_model(patient: Patient) -> None:
    url = patient.stack.container.database_url()
    await write_raw(url, "generation.cancelled@1", '{"by": "a hidden wish"}')
    await patient.stack.rows(
        "INSERT INTO parked_aggregates SELECT 'jobs', 1, originator_id, 1, 'unreadable'"
        " FROM stored_events LIMIT 1"
    )
    findings = await patient.found()
    assert findings["read model jobs"].sentence.startswith("1 aggregates are parked")
    assert "`darkroom retry-parked jobs`" in findings["read model jobs"].remedy
    assert "2 events behind" in findings["read model users"].sentence


async def test_workers_without_a_dispatcher_are_told(patient: Patient) -> None:
    await patient.stack.container.board().register(uuid4(), slots=3, lease=LEASE)
    findings = await patient.found()
    assert "none of them hands out work" in findings["workers"].sentence
    assert findings["workers"].facts == {"count": 1, "slots": 3}


async def test_few_free_connections_are_told(patient: Patient) -> None:
    free = (await patient.found())["connections"].facts["free"]
    url = patient.stack.container.database_url()
    with ExitStack() as taken:
        for _ in range(free - 14):
            taken.enter_context(psycopg.connect(url))
        findings = await patient.found()
    assert findings["connections"].state == "degraded"
    needed = sum(connections_of_each().values())
    assert findings["connections"].sentence.endswith(f"needs {needed} more, and there are 14.")
    assert "Raise max_connections" in findings["connections"].remedy


async def test_a_role_that_may_not_create_schemas_is_told(patient: Patient) -> None:
    assert (await patient.found())["role"].state == "ok"
    await patient.stack.rows(
        "CREATE ROLE bounded LOGIN PASSWORD 'bounded';"
        " GRANT pg_read_all_data, pg_monitor TO bounded"
    )
    try:
        parts = urlsplit(patient.stack.container.database_url())
        url = parts._replace(netloc=f"bounded:bounded@{parts.netloc.partition('@')[2]}").geturl()
        findings = await patient.found(DATABASE_URL=url)
    finally:
        await patient.stack.rows("DROP ROLE bounded")
    assert findings["role"].sentence == (
        "bounded may not create schemas, in which read models lie."
    )
    assert (findings["role"].remedy or "").startswith("GRANT CREATE ON DATABASE ")


async def test_commands_at_work_have_connections_that_others_cannot(patient: Patient) -> None:
    before = (await patient.found())["connections"].facts["others"]
    url = patient.stack.container.database_url()
    async with await connect(url, "darkroom check"), await connect(url, "darkroom replay jobs_v1"):
        assert (await patient.found())["connections"].facts["others"] == before + 2


async def test_poolers_are_told_by_their_mode(patient: Patient) -> None:
    url = patient.stack.container.database_url()
    async with Pooler(url, backends=3) as pooler:
        findings = await patient.found(DATABASE_URL=pooler.url)
        assert findings["sessions"].state == "failing"
        assert "transaction mode" in findings["sessions"].sentence
        assert "session mode" in findings["sessions"].remedy
    async with Pooler(url, backends=4, sessions=True) as pooler:
        findings = await patient.found(DATABASE_URL=pooler.url)
        assert findings["sessions"].state == "ok"


@pytest.mark.parametrize("process", ["api", "worker", "projector", "migrate"])
async def test_a_process_refuses_a_pooler_in_transaction_mode(
    patient: Patient, process: str
) -> None:
    async with Pooler(patient.stack.container.database_url(), backends=3) as pooler:
        environment = patient.stack.settings.environ() | {"DATABASE_URL": pooler.url}
        typed = await darkroom(process, folder=patient.folder, **environment)
    typed.refused(2, "has neither LISTEN nor session locks. Give it the address")


async def test_an_image_store_that_takes_nothing_is_told(patient: Patient) -> None:
    objects = patient.stack.settings.data_dir / "objects"
    objects.parent.mkdir(exist_ok=True)
    objects.write_text("no folder")
    findings = await patient.found()
    assert findings["image store"].state == "failing"
    assert "The image store's disk refused" in findings["image store"].sentence
    assert "permissions" in findings["image store"].remedy


async def test_another_logs_mark_in_the_image_store_is_told(patient: Patient) -> None:
    assert (await patient.found())["orphaned files"].state == "ok"
    images = patient.stack.container.image_store()
    mark = Mark(uuid4(), 7, datetime(2026, 11, 25, tzinfo=UTC))
    await images.mark(mark)
    finding = (await patient.found())["orphaned files"]
    assert finding.state == "degraded"
    assert finding.sentence.startswith("Another log uses the image store")
    (file,) = (patient.stack.settings.data_dir / "objects" / "logs").iterdir()
    assert f"remove from the image store: logs/{file.name}." in finding.remedy
    file.unlink()
    assert (await patient.found())["orphaned files"].state == "ok"


async def test_a_clock_that_stepped_back_is_told(patient: Patient) -> None:
    assert (await patient.found())["clocks"].state == "ok"
    await patient.stack.rows("UPDATE stored_events SET recorded_at = now() + interval '9 minutes'")
    finding = (await patient.found())["clocks"]
    assert finding.state == "degraded"
    assert "behind the newest event" in finding.sentence


async def test_who_tells_webhooks_is_missed(patient: Patient) -> None:
    assert (await patient.found())["webhooks"].sentence.endswith("is not set here.")
    secret = {"DARKROOM_SECRET_KEY": "a-secret-key-for-tests"}
    finding = (await patient.found(**secret))["webhooks"]
    assert (finding.state, finding.sentence[:28]) == (
        "degraded",
        "Nobody announces what ends: ",
    )
    async with leadership(patient.stack.container.database_url(), "announcer"):
        assert (await patient.found(**secret))["webhooks"].state == "ok"


async def test_a_login_provider_that_does_not_answer_is_told(patient: Patient) -> None:
    assert (await patient.found())["login"].sentence.startswith("It is off")
    server = OpenIdServer()
    async with serving(server) as server.issuer:
        given = {
            "OIDC_ISSUER": server.issuer,
            "OIDC_CLIENT_ID": CLIENT,
            "OIDC_CLIENT_SECRET": SECRET,
        }
        assert (await patient.found(**given))["login"].state == "ok"
        server.switches.tell(always="refuse")
        finding = (await patient.found(**given))["login"]
        assert finding.state == "failing"
        assert finding.sentence.startswith("The login provider does not say its configuration: ")
        server.switches.tell(always=None)
        other = given | {"OIDC_ISSUER": server.issuer.replace("127.0.0.1", "localhost")}
        assert (
            f"it calls itself '{server.issuer}'" in (await patient.found(**other))["login"].sentence
        )
        server.switches.tell(always="hang")
        assert "within 5 s" in (await patient.found(**given))["login"].sentence


async def test_an_api_that_is_away_or_knows_no_such_key_is_told(patient: Patient) -> None:
    findings = await patient.told()
    assert findings["api"]["state"] == "ok"
    findings = await patient.told(DARKROOM_API_KEY="a-hidden-key-of-nobody")
    assert findings["api"]["remedy"] == "Look at DARKROOM_API_KEY."
    findings = await patient.told(DARKROOM_URL=f"http://127.0.0.1:{free_port()}")
    assert "Connection refused" in findings["api"]["sentence"]


async def test_a_read_model_that_is_being_made_anew_is_told(
    patient: Patient, database_url: str
) -> None:
    await rows(database_url, "DROP TABLE jobs_v1.jobs CASCADE")
    await ensure_tables(database_url)
    found = (await patient.found())["read models"]
    assert found.state == "degraded"
    assert "Being made anew, because tables were not there: jobs (" in found.sentence


# --- beside `darkroom up` ------------------------------------------------------------------------


async def test_beside_up_its_servers_are_found(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    await ensure_tables(database_url)
    beside = {"DARKROOM_DATA_DIR": str(tmp_path), "DARKROOM_PORT": str(free_port())}
    with left_for_others(tmp_path, {"DATABASE_URL": database_url, "REDIS_URL": redis_url}):
        typed = await darkroom("doctor", folder=tmp_path, **beside)
        parked = await darkroom("retry-parked", "jobs", folder=tmp_path, **beside)
    said = " ".join(typed.out.split())
    assert f"✓ servers `darkroom up` runs on {tmp_path}." in said
    assert "✓ schema The schema is at" in said
    assert (parked.status, parked.out) == (0, "jobs: 0 parked\n")
    assert await rows(database_url, "SELECT count(*) FROM parked_aggregates") == [(0,)]


async def test_where_up_does_not_run_both_say_so(tmp_path: Path) -> None:
    beside = {"DARKROOM_DATA_DIR": str(tmp_path)}
    (tmp_path / "servers").write_text('{"DATABASE_URL": "of a process that was killed"}')
    typed = await darkroom("doctor", folder=tmp_path, **beside)
    assert typed.status == 1
    assert f"✗ servers `darkroom up` does not run on {tmp_path}." in " ".join(typed.out.split())
    parked = await darkroom("retry-parked", folder=tmp_path, **beside)
    parked.refused(2, "DATABASE_URL is not set. `darkroom up` does not run on")


@pytest.mark.slow
async def test_a_store_at_supabase_that_refuses_the_key_says_so(patient: Patient) -> None:
    async with serving(SupabaseServer()) as url:
        there = {"DARKROOM_IMAGE_STORE": "supabase", "SUPABASE_URL": url, "SUPABASE_KEY": KEY}
        well = (await patient.told(**there))["image store"]
        wrong = (await patient.told(**there | {"SUPABASE_KEY": "hidden-word"}))["image store"]
    assert well["sentence"] == "A picture was stored, read and removed."
    assert (wrong["state"], wrong["sentence"]) == ("failing", "Supabase Storage refused the key.")
    assert "SUPABASE_KEY" in wrong["remedy"]

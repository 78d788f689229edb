"""What `darkroom doctor` looks at: a sentence for each finding, and a remedy where it helps."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection

from application.orphans import CLOCKS_AGREE, machine_clock
from application.ports.event_store import StoreUnavailableError
from application.ports.identity import Attempt, IdentityProviderUnavailableError
from application.ports.images import ImageStoreUnavailableError
from infrastructure.beside_up import NotRunningError, servers_left
from infrastructure.connection_budget import Budget, connection_budget
from infrastructure.container import Container
from infrastructure.event_store.connections import LOST, connect
from infrastructure.event_store.follower import duty_of
from infrastructure.event_store.leadership import is_held
from infrastructure.event_store.session_mode import SharedSessionsError, examine_sessions
from infrastructure.read_models import Fetch, discover
from infrastructure.readiness import IMAGES_SILENT, Check, Readiness, State
from infrastructure.settings import Settings, SettingsError, load_settings

OLDEST_POSTGRES = 16
MANY_EVENTS_BEHIND = 1000
PATIENCE = 5.0  # seconds for each check of readiness, and for the image store

CLOCK_AND_NEWEST = """
SELECT clock_timestamp(),
       (SELECT recorded_at FROM stored_events ORDER BY notification_id DESC LIMIT 1)
"""
PICTURE = bytes.fromhex(  # a transparent pixel
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c020000000b4944415478da6364f8"
    "0f00010501012718e3660000000049454e44ae426082"
)


@dataclass(frozen=True)
class Finding:
    """What was seen of one thing; `unknown`: not looked at, because of another finding."""

    name: str
    state: State | Literal["unknown"]
    sentence: str
    remedy: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


async def examine(environ: Mapping[str, str] | None = None) -> AsyncIterator[Finding]:
    """Look at everything behind the API, one after the other; changes nothing, never raises."""
    try:
        settings = load_settings(environ)
    except SettingsError as error:
        for mistake in error.mistakes:
            yield Finding("configuration", "failing", mistake)
        yield Finding("servers", "unknown", "Not looked at until the configuration is right.")
        return
    given = len(settings.model_fields_set)
    told = "1 setting is" if given == 1 else f"{given} settings are"
    told = f"{told} set, the others have defaults." if given else "All are defaults."
    yield Finding("configuration", "ok", told)
    try:
        servers = _servers(settings)
    except NotRunningError as error:
        yield Finding("servers", "failing", error.wrong, error.remedy)
        yield Finding("login", "unknown", "Not looked at until the servers run.")
    else:
        if settings.database_url is None:
            yield Finding("servers", "ok", f"`darkroom up` runs on {settings.data_dir}.")
        async for finding in _examine_servers(servers):
            yield finding
        yield await _login(servers)
    yield await _image_store(settings)


def _servers(settings: Settings) -> Settings:
    """The settings with the addresses of the servers. Raises NotRunningError."""
    if settings.database_url is not None:
        return settings
    return load_settings(settings.environ() | servers_left(settings.data_dir))


async def _examine_servers(settings: Settings) -> AsyncIterator[Finding]:
    url = str(settings.database_url)
    try:
        connection = await connect(url, "darkroom doctor")
    except psycopg.Error as error:
        yield Finding("database", "failing", *_silent(error))
        yield Finding("schema", "unknown", "Nor are read models and workers: the database first.")
        yield _of_check("redis", (await _readiness(_nobody, settings))["redis"])
        return
    connection.prepare_threshold = None  # a pooler may give each statement another session
    async with connection:
        asking = Asking(connection)
        yield _version(connection.info.server_version)
        yield await _sessions(url)
        yield _connections(await connection_budget(asking))
        checks = await _readiness(asking, settings)
        yield _schema(checks["database"])
        yield await _role(asking)
        for finding in await _read_models(asking, checks["readModels"]):
            yield finding
        yield _of_check("redis", checks["redis"])
        yield await _workers(asking, checks["workers"])
        yield await _webhooks(asking, settings)
        yield _marks(checks["imageStore"])
        if checks["database"].state == "ok":
            yield await _clocks(asking)


class Asking:
    """Statements over one connection, as Readiness asks them."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    async def __call__(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Raises StoreUnavailableError."""
        try:
            cursor = await self._connection.execute(query, parameters)
            return await cursor.fetchall()
        except LOST as error:
            raise StoreUnavailableError("The database does not answer.") from error


async def _nobody(_query: str, _parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    raise StoreUnavailableError("The database does not answer.")


async def _readiness(fetch: Fetch, settings: Settings) -> dict[str, Check]:
    container = Container(settings=settings)
    checks = await Readiness(
        fetch, container.queue, container.image_store, patience=PATIENCE
    ).check()
    if checks["redis"].wrong is None or "cannot be used" not in checks["redis"].wrong:
        await container.queue().close()
    await container.image_store().close()
    return checks


# --- the database --------------------------------------------------------------------------------


def _silent(error: psycopg.Error) -> tuple[str, str]:
    reason = " ".join(str(error).split())
    return f"PostgreSQL does not answer: {reason}", "Look at DATABASE_URL and at the server."


def _version(number: int) -> Finding:
    """From PostgreSQL's own number, as 180004."""
    major, version = number // 10_000, f"{number // 10_000}.{number % 10_000}"
    if major < OLDEST_POSTGRES:
        return Finding(
            "database",
            "failing",
            f"PostgreSQL {version} is older than {OLDEST_POSTGRES}.",
            f"Move to PostgreSQL {OLDEST_POSTGRES} or newer.",
        )
    return Finding("database", "ok", f"PostgreSQL {version} answers.", facts={"version": version})


async def _sessions(url: str) -> Finding:
    try:
        await examine_sessions(url)
    except SharedSessionsError as error:
        return Finding("sessions", "failing", error.wrong, error.remedy)
    except psycopg.Error as error:
        return Finding("sessions", "failing", *_silent(error))
    return Finding("sessions", "ok", "Sessions keep their state, and notices arrive.")


def _connections(budget: Budget) -> Finding:
    at_work = ", ".join(f"{count} {name}" for name, count in budget.processes.items())
    taken = budget.reserved - budget.others
    told = f"At work: {at_work}; they take up to {taken} of {budget.usable} connections"
    told = f"{told}, others have {budget.others}."
    facts = {**asdict(budget), "reserved": budget.reserved, "free": budget.free}
    if budget.free >= budget.wanted:
        return Finding("connections", "ok", told, facts=facts)
    left, more = max(budget.free, 0), budget.wanted - budget.free
    return Finding(
        "connections",
        "degraded" if budget.free >= 0 else "failing",
        f"{told} A rolling restart needs {budget.wanted} more, and there are {left}.",
        f"Raise max_connections (or the limit of the role or database) by {more}, or run fewer"
        " processes.",
        facts,
    )


def _schema(check: Check) -> Finding:
    if check.state != "ok":
        return _of_check("schema", check)
    schema = check.facts["schema"]
    return Finding("schema", "ok", f"The schema is at {schema}, the newest.", facts=check.facts)


async def _role(fetch: Fetch) -> Finding:
    ((role, database, may_create),) = await fetch(
        "SELECT quote_ident(current_user), quote_ident(current_database()),"
        " has_database_privilege(current_database(), 'CREATE')",
        (),
    )
    if may_create:
        return Finding("role", "ok", f"{role} may create schemas.")
    return Finding(
        "role",
        "failing",
        f"{role} may not create schemas, in which read models lie.",
        f"GRANT CREATE ON DATABASE {database} TO {role}, as the database's owner.",
    )


# --- who is at work ------------------------------------------------------------------------------


async def _read_models(fetch: Fetch, check: Check) -> list[Finding]:
    if not check.facts:
        return [_of_check("read models", check)]
    findings = [
        _read_model(
            model.name, check.facts[model.name], followed=await is_held(fetch, duty_of(model))
        )
        for model in discover()
        if model.name in check.facts
    ]
    return [*findings, _of_check("read models", check)] if check.remedy else findings


def _read_model(name: str, facts: dict[str, Any], *, followed: bool) -> Finding:
    def found(state: State, sentence: str, remedy: str | None = None) -> Finding:
        return Finding(f"read model {name}", state, sentence, remedy, facts | {"led": followed})

    behind = f"{facts['behind']} events behind" if facts["behind"] else "up to date"
    if facts["error"]:
        return found(
            "failing",
            f"It stands still, {behind}: {facts['error']}",
            "Read the projector's log, and mend what it says: it then goes on by itself.",
        )
    if facts["parked"]:
        return found(
            "degraded",
            f"{facts['parked']} aggregates are parked, because their data could not be projected.",
            f"Read the projector's log, mend what it says, then `darkroom retry-parked {name}`.",
        )
    if not followed:
        return found("failing", f"Nobody leads it; it is {behind}.", "Start `darkroom projector`.")
    if facts["behind"] > MANY_EVENTS_BEHIND:
        return found(
            "degraded",
            f"It is {behind}.",
            "It catches up by itself; if the number does not fall, read the projector's log.",
        )
    return found("ok", f"It is {behind}.")


async def _workers(fetch: Fetch, check: Check) -> Finding:
    if check.state != "ok":
        return _of_check("workers", check)
    if not await is_held(fetch, "dispatcher"):
        return Finding(
            "workers",
            "degraded",
            "Workers are there, and none of them hands out work.",
            "Read their logs; one of them takes the dispatcher's duty within a second or two.",
            check.facts,
        )
    workers, slots = check.facts["count"], check.facts["slots"]
    sentence = f"{workers} at work, for {slots} generations at once."
    return Finding("workers", "ok", sentence, facts=check.facts)


async def _webhooks(fetch: Fetch, settings: Settings) -> Finding:
    if await is_held(fetch, "announcer"):
        return Finding("webhooks", "ok", "A worker announces what ends.")
    if settings.secret_key is None:
        return Finding(
            "webhooks", "ok", "Nobody announces what ends, as DARKROOM_SECRET_KEY is not set here."
        )
    return Finding(
        "webhooks",
        "degraded",
        "Nobody announces what ends: webhooks are told of it later.",
        "Start `darkroom worker` with DARKROOM_SECRET_KEY; where one is at work, read its log.",
    )


def _of_check(name: str, check: Check) -> Finding:
    return Finding(name, check.state, check.wrong or "It answers.", check.remedy, check.facts)


# --- clocks and marks ----------------------------------------------------------------------------


def _marks(check: Check) -> Finding:
    if check.state != "ok":
        return _of_check("orphaned files", check)
    return Finding("orphaned files", "ok", "This log alone uses the image store.")


async def _clocks(fetch: Fetch) -> Finding:
    """PostgreSQL's against the newest event's, which it stamped, and against this machine's."""
    rows = await fetch(CLOCK_AND_NEWEST, ())
    clock, recorded_at = rows[0]
    return _of_clocks(clock, recorded_at or clock, machine_clock())


def _of_clocks(clock: datetime, recorded_at: datetime, machine: datetime) -> Finding:
    if recorded_at > clock:
        behind = (recorded_at - clock).total_seconds()
        return Finding(
            "clocks",
            "degraded",
            f"PostgreSQL's clock is {behind:.0f} seconds behind the newest event: until then the"
            " log's time stands still, and with it leases, deadlines and windows.",
            "Correct the clock of PostgreSQL's machine; if it is right now, wait.",
        )
    apart = abs(clock - machine)
    if apart > CLOCKS_AGREE:
        return Finding(
            "clocks",
            "degraded",
            f"The clocks of this machine and of PostgreSQL are {apart.total_seconds():.0f} seconds"
            " apart: no orphaned files are removed from here.",
            "Correct the one that is wrong.",
        )
    return Finding("clocks", "ok", "They agree.")


# --- the login provider --------------------------------------------------------------------------


async def _login(settings: Settings) -> Finding:
    """Whether it says where browsers are to be sent."""
    provider = Container(settings=settings).identity_provider()
    if provider is None:
        return Finding("login", "ok", "It is off: OIDC_CLIENT_ID is not set.")
    try:
        async with asyncio.timeout(PATIENCE):
            await provider.address(Attempt())
    except TimeoutError:
        wrong = f"the login provider does not answer within {PATIENCE:.0f} s"
    except IdentityProviderUnavailableError as error:
        wrong = error.why
    else:
        return Finding("login", "ok", f"{settings.oidc_issuer} answers.")
    finally:
        await provider.close()
    remedy = "Look at OIDC_ISSUER, at the way there and at the provider's status."
    return Finding("login", "failing", f"{wrong[0].upper()}{wrong[1:]}.", remedy)


# --- the image store -----------------------------------------------------------------------------


async def _image_store(settings: Settings) -> Finding:
    """Store a picture, read it, and remove it again."""
    images = Container(settings=settings).image_store()
    sha256 = hashlib.sha256(PICTURE).hexdigest()
    key = f"images/{uuid4()}/1-{sha256}.png"  # what stays after all is an orphan as any other
    try:
        async with asyncio.timeout(PATIENCE):
            await images.put(key, PICTURE, "image/png")
            kept = await images.holds(key, sha256=sha256)
            await images.delete([key])
    except TimeoutError:
        return Finding("image store", "failing", f"{IMAGES_SILENT.wrong}", IMAGES_SILENT.remedy)
    except ImageStoreUnavailableError as error:
        wrong, _, remedy = f"{error}".partition(". ")
        return Finding("image store", "failing", f"{wrong}.", remedy or None)
    finally:
        await images.close()
    if not kept:
        return Finding(
            "image store",
            "failing",
            "A picture that was stored cannot be read again.",
            "Look at the image store's settings and at the store.",
        )
    return Finding("image store", "ok", "A picture was stored, read and removed.")

"""Whether this process can serve: what it finds out about all that it depends on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from psycopg.errors import UndefinedTable

from application.ports.event_store import StoreUnavailableError
from application.ports.images import ImageStore, ImageStoreUnavailableError
from application.ports.workers import QueueUnavailableError
from infrastructure.event_store.follower_tables import FollowerState, follower_states
from infrastructure.event_store.log import PostgresLog
from infrastructure.event_store.schema import (
    EARLIER_BUILD,
    MADE_OF,
    MAKE_A_NEW_ONE,
    is_of_an_earlier_build,
    newest_revision,
)
from infrastructure.image_stores.marks import name_of
from infrastructure.read_models import Fetch, discover

log = logging.getLogger(__name__)

PATIENCE = 1.0  # seconds for each check; they run side by side

SCHEMA = f"SELECT max(version_num), ({MADE_OF}) FROM alembic_version"  # noqa: S608  # a constant

State = Literal["ok", "degraded", "failing"]


class Reachable(Protocol):
    """Something that can be asked whether it is there."""

    async def ping(self) -> None:
        """Raises QueueUnavailableError."""
        ...


@dataclass(frozen=True)
class Check:
    """One dependency: what is wrong, and the remedy, a sentence each; `facts` is what was seen."""

    state: State
    wrong: str | None = None
    remedy: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """What is wrong and what to do, if anything is."""
        return f"{self.wrong} {self.remedy or ''}".strip() if self.wrong else None


SILENT = Check("failing", "The database does not answer.", "Look at DATABASE_URL and at it.")
REDIS_SILENT = Check(
    "degraded",
    "Redis does not answer; what is due waits in PostgreSQL, each process limits requests alone.",
    "Bring it back: nothing needs repair.",
)
IMAGES_SILENT = Check(
    "degraded",
    "The image store does not answer.",
    "Bring it back: pictures wait in PostgreSQL meanwhile.",
)
NO_SCHEMA = Check("failing", "The database has no schema.", "Run `darkroom migrate`.")
LEAVING = Check("failing", "This process is about to stop.", "Send requests to another one.")
ANOTHER_SCHEMA = Check("failing", EARLIER_BUILD, MAKE_A_NEW_ONE)
OLD_SCHEMA = Check("failing", "The schema is an older release's.", "Run `darkroom migrate`.")


class Readiness:
    """Asks the database, the read models, Redis, the image store, and who is at work.

    Without Redis, image store or workers requests are accepted and wait: degraded. Without the
    rest they are not: failing.
    """

    def __init__(
        self,
        fetch: Fetch,
        queue: Callable[[], Reachable],
        images: Callable[[], ImageStore],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._fetch = fetch
        self._patience = patience
        self._queue = queue
        self._images = images
        self._checks = {
            "database": (self._database, SILENT),
            "readModels": (self._read_models, SILENT),
            "redis": (self._redis, REDIS_SILENT),
            "imageStore": (self._image_store, IMAGES_SILENT),
            "workers": (self._workers, SILENT),
        }
        self._under_way: dict[str, asyncio.Task[Check]] = {}
        self._is_leaving = False

    def leave(self) -> None:
        """From now on nothing more should be sent here, whatever else is well."""
        self._is_leaving = True

    async def check(self) -> dict[str, Check]:
        """All checks by name. Never raises, and takes little longer than `patience`."""
        found = [] if self._is_leaving else await asyncio.gather(*map(self._found, self._checks))
        if self._is_leaving:  # or was told to, meanwhile
            return {"process": LEAVING}
        return dict(zip(self._checks, found, strict=True))

    async def schema_is_current(self) -> bool:
        """Whether the database answers and is migrated."""
        return (await self._found("database")).state == "ok"

    async def _found(self, name: str) -> Check:
        """What it finds in time. It goes on, for whoever asks next: to stop it may take long."""
        check, silent = self._checks[name]
        task = self._under_way.get(name)
        if task is None or task.done():
            task = asyncio.create_task(_safely(name, check(), silent), context=Context())
            self._under_way[name] = task
        await asyncio.wait({task}, timeout=self._patience)
        return task.result() if task.done() else silent

    async def _database(self) -> Check:
        rows = await self._fetch(SCHEMA, ())
        revision, made_of = rows[0]
        if (revision or "") < newest_revision():
            return OLD_SCHEMA
        if is_of_an_earlier_build(revision, made_of):
            return ANOTHER_SCHEMA
        return Check("ok", facts={"schema": revision})

    async def _read_models(self) -> Check:
        rows = await self._fetch("SELECT to_regclass('follower_positions') IS NOT NULL", ())
        known = {(model.name, model.version) for model in discover()}
        states = await follower_states(self._fetch) if rows[0][0] else []
        return _of_read_models([s for s in states if (s.name, s.version) in known])

    async def _redis(self) -> Check:
        try:
            queue = self._queue()
        except Exception as error:  # noqa: BLE001  # whatever redis and arq say of a wrong URL
            return Check(
                "degraded", f"REDIS_URL cannot be used ({type(error).__name__}).", "Mend it."
            )
        await queue.ping()
        return Check("ok")

    async def _image_store(self) -> Check:
        try:
            marks = await self._images().marks()
        except ImageStoreUnavailableError as error:
            wrong, _, remedy = f"{error}".partition(". ")
            return Check("degraded", f"{wrong}.", remedy)
        try:
            async with asyncio.timeout(self._patience / 2):
                others = await PostgresLog(self._fetch).not_mine(marks)
        except TimeoutError:
            return SILENT  # the database, not the image store
        if not others:
            return Check("ok")
        names = ", ".join(sorted({f"logs/{name_of(mark)}" for mark in others}))
        return Check(
            "degraded",
            "Another log uses the image store, or a backup of this one was restored:"
            " orphaned files are not removed.",
            "Give each log an image store of its own. Where nobody needs what only the other log"
            f" knows, remove from the image store: {names}.",
            {"marks": len(others)},
        )

    async def _workers(self) -> Check:
        rows = await self._fetch(
            "SELECT count(*), coalesce(sum(slots), 0)::bigint FROM workers"
            " WHERE expires_at > clock_timestamp() AND slots > 0",
            (),
        )
        facts = {"count": rows[0][0], "slots": rows[0][1]}
        if not rows[0][0]:
            return Check("degraded", "Nobody is at work.", "Start `darkroom worker`.", facts)
        return Check("ok", facts=facts)


def _of_read_models(states: Sequence[FollowerState]) -> Check:
    """Of the versions that this release reads; those of another one are not its business."""
    facts = {
        state.name: {"behind": state.behind, "parked": state.parked, "error": state.error}
        for state in states
    }
    missing = [model.name for model in discover() if model.name not in facts]
    if missing:
        names = ", ".join(missing)
        return Check("failing", f"Not there: {names}.", "Start `darkroom projector`.", facts)
    building = [f"{s.name} ({s.behind} events to go)" for s in states if not s.built]
    if building:
        wrong = f"Being built for this release: {', '.join(building)}."
        return Check("failing", wrong, "This release's `darkroom projector` does it.", facts)
    anew = [f"{s.name} ({s.behind} events to go)" for s in states if s.anew and not s.error]
    if anew:
        wrong = f"Being made anew, because tables were not there: {', '.join(anew)}."
        remedy = "What is read is not complete; `darkroom projector` does it."
        return Check("degraded", wrong, remedy, facts)
    troubled = [state.name for state in states if state.error or state.parked]
    if troubled:
        names = ", ".join(troubled)
        return Check("degraded", f"Not all of these is up to date: {names}.", facts=facts)
    return Check("ok", facts=facts)


async def _safely(name: str, check: Coroutine[Any, Any, Check], silent: Check) -> Check:
    try:
        return await check
    except (StoreUnavailableError, QueueUnavailableError):
        return silent
    except UndefinedTable:
        return NO_SCHEMA
    except Exception:  # readiness is asked when things are wrong: it has to say something
        log.exception("a readiness check failed unexpectedly", extra={"check": name})
        return Check("failing", f"The check of {name} failed unexpectedly.", "Look into the log.")

"""What becomes of a generation whose provider meets a fault, again and again: really performed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import TypeVar
from uuid import UUID

from application.fitting import Wanted
from application.ports.providers import Capabilities, Provider
from application.routing import NoProviderError
from domain.failure import FailureKind, OnRefusal
from domain.generation import Generation, Wait, Wish
from domain.image import ImageSpec, ReferenceImage, reference_key
from tests.contracts.asking import reference
from tests.contracts.stages.stage import HANG, PATIENCE, ServedStage
from tests.fakes_images import FAKE_CAPABILITIES, FakeProvider
from tests.servers.protocol import TRANSPORT_FAULTS, ProtocolServer, serving
from tests.studio import Studio

OTHER = "another"
NOBODY = "nobody"  # listens at the address: no fault of a server
NOWHERE = "http://127.0.0.1:1"
IMPATIENCE = 0.3  # seconds, where nothing comes
SLOW = 0.05  # seconds
MOST_STEPS = 30
REFERENCES = (0, 1, 4)
T = TypeVar("T")


@dataclass(frozen=True)
class Fate:
    """How a generation of one picture ended, and what its provider had to do with it.

    `kinds` are what its failures were taken for, in order and each once; `made_by` made the
    picture; `cost` is what was recorded of this provider's calls, of which it bills `billed`, and
    `lost` had an outcome that never became known. `statuses` are those of its answers over HTTP,
    `tokens` what it bills by, where it counts any, `asked` the models that it was asked for,
    `references` how many came with a request.
    """

    status: str
    kinds: tuple[FailureKind, ...]
    statuses: tuple[int, ...]
    asked: tuple[str, ...]
    references: tuple[int, ...]
    calls: int
    lost: int
    cost: Decimal
    billed: int
    tokens: tuple[tuple[int, ...], ...]
    made_by: str | None
    units: int


@dataclass(frozen=True)
class Refusal:
    """Nobody can do it: said before anything is recorded."""

    reason: str


@dataclass(frozen=True)
class Fates:
    """The same request, to the provider alone, with another one behind it, and with leave to go on
    to that one after a refusal, where there is one."""

    alone: Fate
    behind: Fate
    on_leave: Fate | None


@dataclass(frozen=True)
class Rehearsed:
    """What a provider offers, and what became of its generations, by fault and by references."""

    stage: ServedStage
    capabilities: Capabilities
    by_references: Mapping[int, tuple[Fate | Refusal, Fate]]
    by_error: Mapping[str, Fates]
    by_trouble: Mapping[str, Fates]


async def rehearsed(stage: ServedStage) -> Rehearsed:
    """Everything, performed now."""
    server = stage.server()
    errors = [fault for fault in server.switches.faults if fault not in TRANSPORT_FAULTS]
    async with serving(server) as address:
        rehearsal = _Rehearsal(stage, server, address)
        return Rehearsed(
            stage,
            stage.made_at(NOWHERE, PATIENCE).capabilities,
            {count: await rehearsal.with_references(count) for count in REFERENCES},
            {fault: await rehearsal.fates(fault) for fault in errors},
            {fault: await rehearsal.fates(fault) for fault in (NOBODY, *TRANSPORT_FAULTS)},
        )


@dataclass
class _Rehearsal:
    """One provider and its server, which stays while generation after generation is performed."""

    stage: ServedStage
    server: ProtocolServer
    address: str

    async def fates(self, fault: str) -> Fates:
        """Of a request for one picture, while every call meets the fault."""
        alone, behind = await self._fate(fault), await self._fate(fault, others=True)
        on_leave = None
        if "moderation_input" in alone.kinds:
            on_leave = await self._fate(fault, others=True, on_refusal="fallback")
        return Fates(alone, behind, on_leave)

    async def with_references(self, count: int) -> tuple[Fate | Refusal, Fate]:
        """Of a request with so many reference images, alone and with another behind."""
        behind = await self._fate(references=count, others=True)
        try:
            return await self._fate(references=count), behind
        except NoProviderError as error:
            return Refusal(str(error)), behind

    async def _fate(
        self,
        fault: str = "",
        *,
        references: int = 0,
        others: bool = False,
        on_refusal: OnRefusal = "fail",
    ) -> Fate:
        """Raises NoProviderError."""
        async with self._studio(fault, others=others) as studio:
            wanted = Wanted(ImageSpec(), Wish(prompt="a cat"), references=references)
            await studio.performer.router.routes(wanted)
            kept = await _kept(studio, references)
            ref = await studio.place(references=kept, on_refusal=on_refusal)
            return await self._told(studio, await _ended(studio, ref))

    @asynccontextmanager
    async def _studio(self, fault: str, *, others: bool) -> AsyncIterator[Studio]:
        """The provider in it, and another one behind, if asked for; its server has seen nothing."""
        always = None if fault in ("", NOBODY) else fault
        delay = SLOW if fault == "delay" else 0.0
        self.server.switches.tell(always=always, delay=delay, seen=[])
        at = NOWHERE if fault == NOBODY else self.address
        provider = self.stage.made_at(at, IMPATIENCE if fault == HANG else PATIENCE)
        another = FakeProvider(name=OTHER, capabilities=FAKE_CAPABILITIES)
        try:
            yield _studio_of(provider, *([another] if others else []))
        finally:
            await provider.close()

    async def _told(self, studio: Studio, generation: Generation) -> Fate:
        seen, facts = self.server.switches.seen, [one.facts for one in self.server.switches.seen]
        calls = [call for call in generation.calls.values() if call.provider == self.stage.name]
        lost = sum(call.outcome == "lost" for call in calls)
        kinds = await _failures(studio, generation)
        if lost:
            kinds.append("outcome_unknown")
        answered = [call for call in generation.calls.values() if call.outcome == "answered"]
        (units,) = studio.units()
        return Fate(
            status=generation.status,
            kinds=_each_once(kinds),
            statuses=_each_once(one.status for one in seen if one.status is not None),
            asked=_each_once(one["model"] for one in facts if "model" in one),
            references=_each_once(one["references"] for one in facts if "references" in one),
            calls=len(calls),
            lost=lost,
            cost=sum((call.cost.amount for call in calls if call.cost), Decimal(0)),
            billed=self.server.switches.billed,
            tokens=tuple(tuple(one["tokens"]) for one in facts if "tokens" in one),
            made_by=answered[0].provider if answered else None,
            units=units,
        )


def _studio_of(*providers: Provider) -> Studio:
    studio = Studio()
    studio.providers = providers
    studio.performer = studio.another_process()
    return studio


async def _kept(studio: Studio, count: int) -> tuple[ReferenceImage, ...]:
    """Reference images that lie in the studio's store."""
    kept: list[ReferenceImage] = []
    for number in range(1, count + 1):
        data = reference(number, size=(64, 64)).data
        digest = sha256(data).hexdigest()
        key = reference_key(UUID(int=1), digest, "image/png")
        await studio.images.put(key, data, "image/png")
        kept.append(
            ReferenceImage(
                sha256=digest,
                key=key,
                content_type="image/png",
                width=64,
                height=64,
                bytes=len(data),
            )
        )
    return tuple(kept)


async def _ended(studio: Studio, ref: UUID) -> Generation:
    """Performed again and again, at the times that it waits for, to its end."""
    for _ in range(MOST_STEPS):
        generation = await studio.perform(ref)
        if generation.closed:
            return generation
        step, later = generation.next_step(studio.clock()), timedelta(seconds=1)
        until = step.until if isinstance(step, Wait) else studio.clock()
        studio.clock.now = max(until, studio.clock() + later)
    raise AssertionError(f"the generation has not ended: {await studio.trail(ref)}")


async def _failures(studio: Studio, generation: Generation) -> list[FailureKind]:
    history = await studio.store.history(generation.id, after=0, limit=99)
    events = [recorded.event for recorded in history]
    return [event.kind for event in events if isinstance(event, Generation.CallFailed)]


def _each_once(things: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(things))

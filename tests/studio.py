"""What is needed to perform generations without a process: the in-memory store, and fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

from application.earlier_pictures import EarlierPictures
from application.perform import Performer
from application.pictures import Pictures
from application.ports.event_store import Accepted, Command
from application.ports.health import Gatekeeper
from application.ports.images import MOST_PIXELS_TOGETHER
from application.ports.providers import Answer, CallRequest, Provider
from application.preparing import Preparing
from application.references import References, Taken
from application.routing import Router
from domain.generation import Generation
from infrastructure.always_open import AlwaysOpen
from infrastructure.image_editing import PillowEditor
from infrastructure.images import PillowInspector, decode_reference
from tests.fakes import FakeClock, FakeSpool, MemoryEventStore
from tests.fakes_images import FakeImageStore, FakeProvider, answer_to
from tests.generations import events_of, new_generation, request_command

LEASE = timedelta(seconds=30)


class Studio:
    """A store, a provider and others behind it, an image store, and workers to perform with."""

    def __init__(self, *others: Provider) -> None:
        self.clock = FakeClock()
        self.store = MemoryEventStore(self.clock)
        self.provider = FakeProvider()
        self.providers: tuple[Provider, ...] = (self.provider, *others)
        self.gate: Gatekeeper = AlwaysOpen()
        self.images = FakeImageStore()
        self.spool = FakeSpool()
        self.performer = self.another_process()

    def another_process(self) -> Performer:
        return Performer(
            store=self.store,
            router=Router({provider.name: provider for provider in self.providers}, self.gate),
            gate=self.gate,
            pictures=Pictures(self.images, self.spool, PillowInspector(), PillowEditor()),
            preparing=Preparing(PillowEditor()),
            call_timeout=timedelta(seconds=60),
            lease=LEASE,
            jitter=lambda: 0.5,
            clock=lambda: self.clock().timestamp(),
        )

    async def place(self, **wanted: object) -> UUID:
        generation = new_generation(self.clock.now, **wanted)
        outcome = await self.store.append(request_command(generation))
        assert isinstance(outcome, Accepted), outcome
        return generation.id

    async def worker(self) -> UUID:
        worker = uuid4()
        await self.store.board.register(worker, slots=4, lease=LEASE)
        return worker

    async def perform(self, ref: UUID) -> Generation:
        await self.performer.perform(ref, await self.worker())
        return await self.load(ref)

    async def cancel(self, ref: UUID) -> None:
        generation = await self.load(ref)
        generation.cancel(by=generation.user_id)
        outcome = await self.store.append(Command(events_of(generation)))
        assert isinstance(outcome, Accepted), outcome

    async def another_process_performs(self, ref: UUID) -> Generation:
        await self.another_process().perform(ref, await self.worker())
        return await self.load(ref)

    async def load(self, ref: UUID) -> Generation:
        generation = await self.store.get(Generation, ref)
        assert generation is not None
        return generation

    async def trail(self, ref: UUID) -> list[str]:
        history = await self.store.history(ref, after=0, limit=99)
        return [recorded.event.topic.removeprefix("generation.") for recorded in history]

    def units(self) -> set[int]:
        return set(self.store.units.values())


def taking(
    images: FakeImageStore,
    store: MemoryEventStore,
    *,
    max_pixels_together: int = MOST_PIXELS_TOGETHER,
    **bounds: int,
) -> References:
    """What takes reference images, with the real inspector and editor."""
    return References(
        images=images,
        inspector=PillowInspector(max_pixels_together=max_pixels_together),
        editor=PillowEditor(),
        earlier=EarlierPictures(store),
        decode=decode_reference,
        **bounds,
    )


async def take(
    references: References,
    user_id: UUID,
    sent: Sequence[str | bytes],
    mask: str | bytes | None = None,
) -> Taken:
    """What becomes of what came along with a prompt."""
    return await references.take(user_id, await references.read(sent, mask))


async def never() -> None:
    await asyncio.Event().wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def at_once(request: CallRequest) -> Answer:
    return answer_to(request)

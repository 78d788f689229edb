"""A provider and an image store that are not ours: servers of the tests that fail by chance."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from infrastructure.providers.openai_models import CAPABILITIES
from tests.chaos.rounds.ledger import Billed, CallId
from tests.chaos.rounds.plan import Plan
from tests.processes import Process
from tests.servers import openai
from tests.servers.protocol import TRANSPORT_FAULTS, ProtocolServer, Seen, Switches, serving
from tests.servers.running import environment_of
from tests.servers.supabase import SupabaseServer

PAINTS_FOR = 0.25  # seconds
MILLION = 1_000_000
CHANCES = {
    "openai": {
        "server_error": 0.04,
        "overloaded": 0.01,
        "rate_limit_without_wait": 0.02,
        "moderation_input": 0.02,
        "moderation_output": 0.01,
        "bad_gateway": 0.01,
        "drop": 0.01,
        "lose_answer": 0.01,
        "truncate": 0.01,
    },
    "supabase": {
        "internal": 0.02,
        "database_timeout": 0.01,
        "slow_down": 0.02,
        "bad_gateway": 0.01,
        "refuse": 0.01,
        "drop": 0.01,
        "lose_answer": 0.02,
        "truncate": 0.01,
    },
}


@dataclass
class Others:
    """Both servers, how Darkroom is pointed at them, and what they counted."""

    openai: ProtocolServer
    supabase: SupabaseServer
    environment: Mapping[str, str]

    @property
    def switches(self) -> Mapping[str, Switches]:
        """What steers each of them."""
        return {"openai": self.openai.switches, "supabase": self.supabase.switches}

    def calm(self) -> None:
        """Nothing fails any more."""
        for switches in self.switches.values():
            switches.tell(always=None, chances={})

    @property
    def objects(self) -> set[str]:
        """The keys of all pictures that lie in the image store."""
        buckets = self.supabase.buckets.values()
        return {key for bucket in buckets for key in bucket.objects if key.startswith("images/")}

    def ledger(self, processes: Sequence[Process]) -> dict[CallId, Billed]:
        """OpenAI's own account, by call; whose each was is in the processes' logs."""
        callers = _callers(processes)
        calls: dict[CallId, Billed] = {}
        for seen in self.openai.switches.seen:
            generation, _, number = seen.facts["client_request_id"].rpartition("-")
            id_ = UUID(generation), int(number)
            billed = calls.setdefault(id_, Billed())
            billed.times += 1
            billed.process = callers.get(id_, 0)
            billed.pictures = seen.facts.get("images", 0)
            billed.cost += _price(seen)
            if seen.fault not in TRANSPORT_FAULTS:
                billed.outcome = "answered" if seen.billed else "failed"
        return calls


@asynccontextmanager
async def others_of(plan: Plan) -> AsyncIterator[Others | None]:
    """Served in this process, until the block ends; None where all is built in."""
    if plan.outside == "built-in":
        yield None
        return
    async with AsyncExitStack() as until_then:
        painter, store = openai.server(), SupabaseServer()
        painter.switches.tell(delay=PAINTS_FOR)
        addresses = {
            "openai": await until_then.enter_async_context(serving(painter)),
            "supabase": await until_then.enter_async_context(serving(store)),
        }
        for name, switches in (("openai", painter.switches), ("supabase", store.switches)):
            switches.chance.seed(f"{plan.seed} {name}")
            switches.tell(chances=CHANCES[name] if plan.means == "all" else {})
        chosen = {
            "DARKROOM_PROVIDERS": "openai,sketch",
            "DARKROOM_IMAGE_STORE": "supabase",
        }
        yield Others(painter, store, environment_of(addresses) | chosen)


def _callers(processes: Sequence[Process]) -> dict[CallId, int]:
    return {
        (UUID(entry["generation"]), entry["call"]): process.pid
        for process in processes
        for entry in process.entries()
        if entry["event"] == "calling openai"
    }


def _price(seen: Seen) -> Decimal:
    """What the provider's price list makes of the tokens that it says it counted."""
    if not seen.billed:
        return Decimal(0)
    model = CAPABILITIES.model(seen.facts["model"])
    assert model is not None
    units = ("text_input_tokens", "image_input_tokens", "image_output_tokens")
    tokens = zip(units, seen.facts["tokens"], strict=True)
    return sum((model.prices[unit] * number / MILLION for unit, number in tokens), Decimal(0))

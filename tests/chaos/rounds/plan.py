"""What one seed decides: what is asked for and what is broken, each with its moment."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal

ORDERS_A_SECOND = 12.0
SHORTEST_LOAD = 12.0  # seconds
SECONDS_A_FAULT = 1.2
LEASE = 4.0  # seconds, as the other times here
CALL = 4.0
LONGER_THAN_A_LEASE = (1.5 * LEASE, 2 * LEASE)

Wait = Literal["end", "async", "short"]
Then = Literal["cancel", "delete", "retry"]
Means = Literal["all", "redis", "none"]
Outside = Literal["built-in", "servers"]

PLACES = ("api-0", "api-1", "worker-0", "worker-1", "projector-0", "projector-1")

# What is done to which target; several times the same where one wants to see it more often.
FAULTS: tuple[tuple[str, str], ...] = (
    *(("kill", place) for place in PLACES),
    ("kill", "worker-0"),
    ("kill", "worker-1"),
    ("kill", "workers"),
    ("kill", "everything"),
    *(("pause", place) for place in PLACES),
    *(("deploy", place) for place in PLACES),
    ("flush", "redis"),
    ("kill", "redis"),
    ("stop", "redis"),
    ("restart", "postgres"),
    ("kill", "postgres"),
    ("cut", "postgres"),
    ("cut", "postgres"),
    ("pause", "postgres"),
    ("cut", "network"),
    ("pause", "network"),
    ("lose answers", "network"),
    ("lose answers", "network"),
    ("fill", "disk"),
    ("take away", "disk"),
)
# Where provider and image store are servers of others, they are what is away, not the disk.
OF_OTHERS = (
    *(fault for fault in FAULTS if fault[1] != "disk"),
    ("refuse", "openai"),
    ("hang", "openai"),
    ("refuse", "supabase"),
    ("hang", "supabase"),
)
OF_REDIS = tuple(fault for fault in FAULTS if fault[1] == "redis")


@dataclass(frozen=True)
class Order:
    """One request as a product's backend makes it; `at` in seconds from the beginning.

    `repeats` is how often it is sent again with the same key through the other api, `then` what is
    done to the generation `after` so many seconds, or, where that needs its end, behind it.
    """

    number: int
    at: float
    count: int
    wait: Wait
    keyed: bool
    repeats: int
    via: int
    references: int
    deadline: int | None
    on_unknown: Literal["repeat", "fail"]
    follow: bool
    then: Then | None
    after: float


@dataclass(frozen=True)
class Fault:
    """Something is broken, for so many seconds where that can be said."""

    at: float
    what: str
    target: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A round: what is asked for, what is broken, and how the service is set up.

    `outside` says who paints and keeps pictures: what is built in, or servers that speak OpenAI's
    and Supabase's protocols and fail by chance, with the built-in provider behind them.
    """

    seed: int
    means: Means
    outside: Outside
    orders: tuple[Order, ...]
    faults: tuple[Fault, ...]
    images_per_call: int
    daily_quota: int
    sketch_faults: str
    seconds: float = field(default=0.0)

    @property
    def end_user_quota(self) -> int:
        """Units a day for each end user: as scarce as the user's."""
        return self.daily_quota // (END_USERS - 1)


END_USERS = 5


def plan_of(
    seed: int, generations: int, means: Means = "all", outside: Outside = "built-in"
) -> Plan:
    """The same arguments give the same plan."""
    chance = random.Random(f"{seed} {generations} {means}")
    seconds = max(generations / ORDERS_A_SECOND, SHORTEST_LOAD)
    hangs = 0.01 if means == "all" else 0.0  # a call that hangs is lost too
    plenty, scarce = generations * 4 + 100, int(generations * 1.6)
    return Plan(
        seed=seed,
        means=means,
        outside=outside,
        orders=tuple(_order(chance, n, seconds) for n in range(generations)),
        faults=_faults(chance, seconds, means, outside),
        images_per_call=chance.choice((1, 1, 2, 3)),
        daily_quota=chance.choice((plenty, plenty, plenty, scarce)),
        sketch_faults=f"refuse=0.03,fail=0.1,hang={hangs}",
        seconds=seconds,
    )


def _order(chance: random.Random, number: int, seconds: float) -> Order:
    return Order(
        number=number,
        at=chance.uniform(0, seconds),
        count=chance.choice((1, 1, 2, 3, 4)),
        wait=chance.choice(("end", "end", "async", "short")),
        keyed=chance.random() < 0.9,
        repeats=chance.choice((0, 0, 0, 1, 2)),
        via=chance.randrange(2),
        references=chance.choice((0,) * 9 + (1, 2)),
        deadline=chance.choice((None,) * 18 + (2, 8)),
        on_unknown=chance.choice(("repeat",) * 9 + ("fail",)),
        follow=chance.random() < 0.2,
        then=chance.choice((None,) * 14 + ("cancel", "cancel", "delete", "retry")),
        after=chance.uniform(0, 1.5),
    )


def _faults(
    chance: random.Random, seconds: float, means: Means, outside: Outside
) -> tuple[Fault, ...]:
    """In turn through a shuffled deck, so that each kind comes before any comes twice."""
    if means == "none":
        return ()
    deck = list(OF_REDIS if means == "redis" else FAULTS if outside == "built-in" else OF_OTHERS)
    chance.shuffle(deck)
    moments = sorted(
        chance.uniform(0.5, seconds - 0.5) for _ in range(round(seconds / SECONDS_A_FAULT))
    )
    drawn = zip(moments, cycle(deck), strict=False)
    return tuple(_fault(chance, at, what, target) for at, (what, target) in drawn)


def _fault(chance: random.Random, at: float, what: str, target: str) -> Fault:
    longest = LONGER_THAN_A_LEASE if what == "pause" else (0.2, 3.0)
    return Fault(at, what, target, seconds=chance.uniform(*longest))

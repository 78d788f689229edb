"""Whoever guesses keys and sessions is slowed, and costs no look at the store."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from application.access import Access, Caller, KeyRefusedError, SessionOverError
from application.rate_limits import RateLimitedError, RateLimits, network_of

MOST_REMEMBERED = 10_000
AT_ONCE = 2  # looks at what is shown from one network that has shown too much
MOST_WAITING = 20


@dataclass
class _Line:
    """Those from one network who are looked at, or wait for it."""

    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    there: int = 0


class GuardedAccess:
    """Access for what is shown from an address.

    What is known here as somebody's is let in from wherever it comes. Anything else is looked for,
    and what never was anybody's is remembered, and counts once. From an address that showed too
    much of that, it is looked for a few at a time and refused by that name: somebody else behind
    the same address is let in all the same. What was revoked or is over is no guess.
    """

    def __init__(self, access: Access, limits: RateLimits) -> None:
        self._access, self._limits = access, limits
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._slow: dict[str, _Line] = {}

    async def by_key(self, key: str, *, address: str | None) -> Caller:
        """As Access has it; also raises RateLimitedError."""
        access = self._access
        return await self._guarded(access.by_key, access.knows_key, KeyRefusedError, key, address)

    async def by_session(self, token: str, *, address: str | None) -> Caller:
        """As Access has it; also raises RateLimitedError."""
        access = self._access
        return await self._guarded(
            access.by_session, access.knows_session, SessionOverError, token, address
        )

    async def _guarded(
        self,
        judge: Callable[[str], Awaitable[Caller]],
        knows: Callable[[str], bool],
        refusal: type[KeyRefusedError | SessionOverError],
        shown: str,
        address: str | None,
    ) -> Caller:
        if knows(shown):
            return await judge(shown)
        digest = sha256(shown.encode()).digest()
        if digest in self._refused:
            self._refused.move_to_end(digest)
            raise refusal
        try:
            async with self._in_turn(address) as limited:
                return await judge(shown)
        except refusal:
            if limited is not None:
                raise limited from None
            if not knows(shown):
                self._remember(digest)
                await self._limits.guessed(address)
            raise

    @asynccontextmanager
    async def _in_turn(self, address: str | None) -> AsyncIterator[RateLimitedError | None]:
        """What a guess is told from there; where there is something, a few are made at a time."""
        limited = await self._limits.guesses_limited(address)
        if limited is None:
            yield None
            return
        network = network_of(address)
        line = self._slow.setdefault(network, _Line())
        if line.there >= MOST_WAITING:
            raise limited
        line.there += 1
        try:
            async with line.free:
                yield limited
        finally:
            line.there -= 1
            if not line.there:
                del self._slow[network]

    def _remember(self, digest: bytes) -> None:
        self._refused[digest] = None
        if len(self._refused) > MOST_REMEMBERED:
            self._refused.popitem(last=False)

"""Whoever guesses keys and sessions is slowed, and costs no look at the store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256

from application.access import Access, Caller, KeyRefusedError, SessionOverError
from application.rate_limits import RateLimits

MOST_REMEMBERED = 10_000


class GuardedAccess:
    """Access for what is shown from an address.

    What is known here as somebody's is let in from wherever it comes. Anything else is looked for
    as long as the address did not show too much that never was anybody's. That is remembered, and
    shown again it counts no more. What was revoked or is over is no guess.
    """

    def __init__(self, access: Access, limits: RateLimits) -> None:
        self._access, self._limits = access, limits
        self._refused: OrderedDict[bytes, None] = OrderedDict()

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
        await self._limits.refuse_guesser(address)
        try:
            return await judge(shown)
        except refusal:
            if not knows(shown):
                self._remember(digest)
                await self._limits.guessed(address)
            raise

    def _remember(self, digest: bytes) -> None:
        self._refused[digest] = None
        if len(self._refused) > MOST_REMEMBERED:
            self._refused.popitem(last=False)

"""How often somebody may ask: with a key, as a user, or from an address; several rates at once."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from application.access import BOOTSTRAP_KEY, Caller
from application.rate import Rate

Kind = Literal["key", "user", "login", "guess"]
"""Whose requests a limit counts: with one key, of one user, logins or failed credentials from one
address."""

SAID: Mapping[Kind, str] = {
    "key": "requests with this API key",
    "user": "requests of yours",
    "login": "steps of logins from your address",
    "guess": "API keys and sessions from your address that are not valid",
}
ONE_NETWORK = 64  # bits of an IPv6 address: whoever has one address has all of its network
NO_ADDRESS = "none"  # of whoever comes over a socket without addresses


@dataclass(frozen=True)
class Limit:
    """A rate, and for whom of its kind it counts."""

    kind: Kind
    whose: str
    rate: Rate

    @property
    def policy(self) -> str:
        """What clients know it by."""
        return f"{self.kind}-per-{self.rate.time}".replace(" ", "-")


@dataclass(frozen=True)
class Standing:
    """How many more a limit admits; where none, one more in `wait` seconds."""

    limit: Limit
    remaining: int
    wait: float = 0.0


@dataclass(frozen=True)
class Tally:
    """Whether one more fits into all limits that were asked about, and how they stand now."""

    fits: bool
    standings: tuple[Standing, ...]


class Counters(Protocol):
    """Counts in sliding windows, for all processes together as far as that can be.

    Never raises, and never takes long.
    """

    async def take(self, limits: Sequence[Limit]) -> Tally:
        """Count one in each limit if it fits into all of them, else in none."""
        ...

    async def look(self, limits: Sequence[Limit]) -> Tally:
        """The same without counting."""
        ...


class RateLimitedError(Exception):
    """One more than a limit admits."""

    def __init__(self, standings: Sequence[Standing]) -> None:
        self.standings = tuple(standings)
        self.used_up = tuple(one for one in standings if one.remaining == 0)
        last = max(self.used_up, key=lambda one: one.wait)
        self.seconds = max(1, math.ceil(last.wait))
        rate, said = last.limit.rate, SAID[last.limit.kind]
        super().__init__(
            f"There may be {rate.amount} {said} in {_a(rate.time)}, and there were."
            f" Ask again in {self.seconds} seconds."
        )


class RateLimits:
    """What an operator allows of each kind; without rates there is no limit."""

    def __init__(self, counters: Counters, rates: Mapping[Kind, Sequence[Rate]]) -> None:
        self._counters, self._rates = counters, rates

    async def admit(self, caller: Caller) -> Sequence[Standing]:
        """Count a request. Raises RateLimitedError.

        The operator's own key has no limits: it is for what runs and measures the service.
        """
        if caller.api_key_id == BOOTSTRAP_KEY:
            return ()
        of_user = self._of("user", str(caller.user_id))
        of_key = self._of("key", caller.api_key_id) if caller.api_key_id else ()
        return await self._take((*of_key, *of_user))

    async def admit_login(self, address: str | None) -> Sequence[Standing]:
        """Count a step of a login. Raises RateLimitedError."""
        return await self._take(self._of("login", network_of(address)))

    async def guesses_limited(self, address: str | None) -> RateLimitedError | None:
        """Why what is no key and no session is refused, if it came from there too often."""
        limits = self._of("guess", network_of(address))
        if limits and not (tally := await self._counters.look(limits)).fits:
            return RateLimitedError(tally.standings)
        return None

    async def guessed(self, address: str | None) -> None:
        """From there came what was no key, or no session."""
        if limits := self._of("guess", network_of(address)):
            await self._counters.take(limits)

    def _of(self, kind: Kind, whose: str) -> tuple[Limit, ...]:
        return tuple(Limit(kind, whose, rate) for rate in self._rates[kind])

    async def _take(self, limits: Sequence[Limit]) -> Sequence[Standing]:
        if not limits:
            return ()
        tally = await self._counters.take(limits)
        if not tally.fits:
            raise RateLimitedError(tally.standings)
        return tally.standings


def network_of(address: str | None) -> str:
    """Whom an address stands for: itself, or an IPv6 network of which one client has all."""
    try:
        known = ipaddress.ip_address(address or "")
    except ValueError:
        return address or NO_ADDRESS
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((int(known), ONE_NETWORK), strict=False))


def _a(time: str) -> str:
    if time[0].isdigit():
        return time
    return f"an {time}" if time == "hour" else f"a {time}"

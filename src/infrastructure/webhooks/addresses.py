"""Which addresses a stranger may have us connect to: those of the public internet, checked last."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from socket import SOCK_STREAM, getaddrinfo

import httpcore
from httpcore import AsyncNetworkBackend, AsyncNetworkStream

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
SocketOptions = Iterable[
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
]

MOST_THREADS = 64  # a name server that says nothing keeps one for as long as it likes
UNICAST = ipaddress.IPv6Network("2000::/3")  # all that was given out of IPv6
# Of those, what leads to an IPv4 address that nobody looked at, Teredo and 6to4; and what
# `ipaddress` does not know of: documentation, the end of the 6bone, relays into 6to4, what the IETF
# keeps for protocols, and where a cloud's machines reach their host.
NOT_HOSTS: tuple[Network, ...] = (
    *map(ipaddress.IPv6Network, ("2001::/32", "2002::/16", "3ffe::/16", "3fff::/20")),
    *map(ipaddress.IPv4Network, ("192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32")),
)


class ForbiddenAddressError(Exception):
    """A name leads to no address that we may connect to."""


def is_public(address: Address) -> bool:
    """Whether it belongs to somebody on the public internet, and to one host."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in UNICAST:
        return False
    return not any(address in one for one in NOT_HOSTS)


@cache
def _resolving() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="resolve")


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as this machine resolves it. Raises OSError."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_resolving(), _addresses, host, port)
    except UnicodeError as error:
        raise OSError("a label of the name is too long, or empty") from error
    return tuple(dict.fromkeys(found))


def _addresses(host: str, port: int) -> list[str]:
    return [str(where[0]) for *_, where in getaddrinfo(host, port, type=SOCK_STREAM)]


class CheckedBackend(AsyncNetworkBackend):
    """Resolves a name and connects, once, to one of its addresses, which was looked at before.

    Nothing is resolved between the look and the connection, so a name that changes its mind changes
    nothing. TLS still verifies the name. Addresses of `allowed` networks may be connected to
    whatever they are, those of the public internet unless `only_allowed` is said.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        only_allowed: bool = False,
        resolve: Resolve = resolve,
        backend: AsyncNetworkBackend | None = None,
    ) -> None:
        self._allowed, self._only_allowed = tuple(allowed), only_allowed
        self._resolve = resolve
        self._backend = backend or httpcore.AnyIOBackend()
        self._stream: AsyncNetworkStream | None = None

    def may_connect(self, text: str) -> bool:
        """Whether this address is one that we may connect to."""
        address = ipaddress.ip_address(text.partition("%")[0])
        if any(address in network for network in self._allowed):
            return True
        return is_public(address) and not self._only_allowed

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> AsyncNetworkStream:
        """Raises ForbiddenAddressError, and OSError or httpcore's errors where nobody is there."""
        addresses = [one for one in await self._resolve(host, port) if self.may_connect(one)]
        for place, address in enumerate(addresses, start=1):
            try:
                self._stream = await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
                return self._stream
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if place == len(addresses):
                    raise
        raise ForbiddenAddressError

    async def close(self) -> None:
        """Let go of the connection, whatever became of TLS over it."""
        if self._stream is not None:
            await self._stream.aclose()

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002  # the library's own signature
        timeout: float | None = None,  # noqa: ARG002  # the same
        socket_options: SocketOptions | None = None,  # noqa: ARG002  # the same
    ) -> AsyncNetworkStream:
        """Never: that is this machine."""
        raise ForbiddenAddressError

    async def sleep(self, seconds: float) -> None:
        """As the library needs it."""
        await asyncio.sleep(seconds)

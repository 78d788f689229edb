"""Which addresses a stranger may have us connect to, and that it is those that were looked at."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import httpcore
import pytest

from infrastructure.webhooks.addresses import CheckedBackend, ForbiddenAddressError, resolve

GOOD, OTHER = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"
FORBIDDEN = {
    "this machine": ["127.0.0.1", "127.255.255.254", "::1"],
    "any address": ["0.0.0.0", "0.1.2.3", "::"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "fc00::1"],
    "link-local": ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0"],
    "site-local": ["fec0::1"],
    "a provider's own": ["100.64.0.1", "100.127.255.255", "168.63.129.16"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "broadcast": ["255.255.255.255"],
    "reserved": ["240.0.0.1", "192.0.0.1", "192.0.0.9", "192.0.0.10", "4000::1", "::2", "3ffe::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarking": ["198.18.0.1", "2001:2::1"],
    "IPv4 inside IPv6": ["::ffff:127.0.0.1", "::ffff:93.184.216.34", "::127.0.0.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::5db8:d822", "64:ff9b:1::1"],
    "6to4": ["2002:7f00:1::1", "192.88.99.1"],
    "Teredo": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "discard": ["100::1"],
}
PUBLIC = [GOOD, OTHER, "1.1.1.1", "172.32.0.1", "100.128.0.1", "2a00:1450:4001:81b::200e"]


class Stream(httpcore.AsyncNetworkStream):
    async def aclose(self) -> None: ...


class Network(httpcore.AsyncNetworkBackend):
    """Notes whom it was to connect to; nobody is there behind the `dead` ones."""

    def __init__(self, *dead: str) -> None:
        self.connected: list[str] = []
        self._dead = dead

    async def connect_tcp(self, host: str, port: int, *_: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        if host in self._dead:
            raise httpcore.ConnectError
        return Stream()


class Names:
    """Answers as a name server does whose owner means no good: each time something else."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        return self._answers.pop(0)


def all_of_them() -> list[tuple[str, str]]:
    return [(kind, address) for kind, addresses in FORBIDDEN.items() for address in addresses]


@pytest.mark.parametrize(("kind", "address"), all_of_them())
async def test_nobody_connects_to_what_is_not_the_public_internet(kind: str, address: str) -> None:
    network = Network()
    backend = CheckedBackend(resolve=Names([address]), backend=network)
    with pytest.raises(ForbiddenAddressError):
        await backend.connect_tcp("hooks.example", 443)
    assert network.connected == [], kind


@pytest.mark.parametrize("address", PUBLIC)
async def test_the_public_internet_is_connected_to(address: str) -> None:
    network = Network()
    await CheckedBackend(resolve=Names([address]), backend=network).connect_tcp("h.example", 443)
    assert network.connected == [address]


@pytest.mark.parametrize("answer", [["10.0.0.1", GOOD], [GOOD, "10.0.0.1"]])
async def test_of_a_good_and_a_bad_address_the_good_one_is_taken(answer: list[str]) -> None:
    network = Network()
    await CheckedBackend(resolve=Names(answer), backend=network).connect_tcp("h.example", 443)
    assert network.connected == [GOOD]


async def test_the_bad_one_is_not_taken_either_when_nobody_is_at_the_good_one() -> None:
    network = Network(GOOD)
    backend = CheckedBackend(resolve=Names([GOOD, "10.0.0.1"]), backend=network)
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("hooks.example", 443)
    assert network.connected == [GOOD]


async def test_a_name_that_changes_its_mind_is_taken_at_its_first_word() -> None:
    """Resolved once, connected to what was looked at: there is no second question to answer."""
    network = Network()
    backend = CheckedBackend(resolve=Names([GOOD], ["127.0.0.1"]), backend=network)
    await backend.connect_tcp("rebinding.example", 443)
    assert network.connected == [GOOD]
    with pytest.raises(ForbiddenAddressError):
        await backend.connect_tcp("rebinding.example", 443)
    assert network.connected == [GOOD]


async def test_the_next_address_is_taken_where_nobody_is_at_the_first() -> None:
    network = Network(OTHER)
    backend = CheckedBackend(resolve=Names([OTHER, GOOD]), backend=network)
    await backend.connect_tcp("hooks.example", 443)
    assert network.connected == [OTHER, GOOD]


async def test_networks_that_the_operator_allows_are_connected_to() -> None:
    network, allowed = Network(), [ipaddress.ip_network("10.1.0.0/16")]
    names = Names(["10.1.2.3"], ["10.2.0.1"])
    backend = CheckedBackend(allowed, resolve=names, backend=network)
    await backend.connect_tcp("inside.example", 443)
    with pytest.raises(ForbiddenAddressError):
        await backend.connect_tcp("beside.example", 443)
    assert network.connected == ["10.1.2.3"]


async def test_without_tls_only_allowed_networks_are_connected_to() -> None:
    network, allowed = Network(), [ipaddress.ip_network("127.0.0.0/8")]
    names = Names([GOOD], ["127.0.0.1"])
    backend = CheckedBackend(allowed, only_allowed=True, resolve=names, backend=network)
    with pytest.raises(ForbiddenAddressError):
        await backend.connect_tcp("hooks.example", 80)
    await backend.connect_tcp("localhost", 80)
    assert network.connected == ["127.0.0.1"]


async def test_a_socket_of_this_machine_is_never_connected_to() -> None:
    with pytest.raises(ForbiddenAddressError):
        await CheckedBackend().connect_unix_socket("/run/postgres")


@pytest.mark.parametrize("written", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"])
async def test_this_machine_is_known_however_it_is_written(written: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        await CheckedBackend(backend=Network()).connect_tcp(written, 443)


@pytest.mark.parametrize("name", ["a..example", f"{'x' * 64}.example"])
async def test_what_is_no_name_cannot_be_resolved(name: str) -> None:
    with pytest.raises(OSError, match="label"):
        await resolve(name, 443)

"""One try over a real connection: nothing but the status matters, and nothing leads elsewhere."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from domain.retries import Answer
from infrastructure.webhooks.sender import HttpSender
from tests.servers.raw import authority_in, said
from tests.servers.receiver import HANG, Receiver

LOOPBACK = [ip_network("127.0.0.0/8")]
BODY = b'{"type":"image.generation.completed"}'


async def send(url: str, *, seconds: float = 10.0, **wanted: object) -> Answer:
    sender = HttpSender(LOOPBACK, seconds=seconds, **wanted)  # type: ignore[arg-type]  # some of several
    return await sender.send(url, {"webhook-id": "1"}, BODY)


async def answered(*answers: bytes, seconds: float = 10.0) -> tuple[Answer, Receiver]:
    receiver = Receiver(answers=list(answers))
    async with receiver.up() as url:
        return await send(url, seconds=seconds), receiver


@pytest.mark.parametrize(
    ("given", "asked"),
    [("//hooks", "//hooks"), ("//a//b?c=//d", "//a//b?c=//d"), ("/hooks?", "/hooks"), ("", "/")],
)
async def test_the_path_is_sent_as_it_was_given(given: str, asked: str) -> None:
    receiver = Receiver()
    async with receiver.up() as url:
        answer = await send(url.removesuffix("/hooks") + given)
    assert answer == Answer(204)
    assert [message.path for message in receiver.received] == [asked]


async def test_what_is_sent_arrives_as_it_is() -> None:
    receiver = Receiver()
    async with receiver.up() as url:
        answer = await send(f"{url};v=1?a=b")
    assert answer == Answer(204)
    (message,) = receiver.received
    assert (message.path, message.body) == ("/hooks;v=1?a=b", BODY)
    assert message.headers["webhook-id"] == "1"
    assert message.headers["content-type"] == "application/json"
    assert message.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "cookie" not in message.headers


@pytest.mark.parametrize("status", [200, 202, 400, 410, 500, 503])
async def test_the_status_is_the_answer(status: int) -> None:
    answer, _ = await answered(said(status))
    assert answer == Answer(status)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_leads_nowhere(status: int) -> None:
    elsewhere = Receiver()
    async with elsewhere.up() as url:
        answer, receiver = await answered(said(status, location=url))
    assert (answer.status, answer.problem) == (status, "redirected")
    assert (len(receiver.received), elsewhere.received) == (1, [])


async def test_when_to_come_back_is_told() -> None:
    answer, _ = await answered(said(503, retry_after="120"))
    assert answer.retry_after == timedelta(seconds=120)


async def test_who_says_nothing_is_given_up() -> None:
    answer, receiver = await answered(HANG, seconds=0.3)
    assert answer == Answer(trouble="timed_out")
    assert len(receiver.received) == 1


async def test_who_says_its_head_forever_is_given_up() -> None:
    answer, _ = await answered(b"HTTP/1.1 200 OK\r\nx-slow: " + b"x" * 1000, seconds=0.3)
    assert answer.trouble in {"timed_out", "broken"}


@pytest.mark.parametrize("length", [10**12, 5])
async def test_a_body_is_neither_read_nor_waited_for(length: int) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n".encode()
    answer, _ = await answered(head + b"x" * min(length - 1, 4_000_000), seconds=5.0)
    assert answer == Answer(200)


@pytest.mark.parametrize("nonsense", [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\r\n" * 10, b"\x00" * 99])
async def test_what_is_no_http_has_no_status(nonsense: bytes) -> None:
    answer, _ = await answered(nonsense)
    assert answer == Answer(trouble="broken")


async def test_where_nobody_is_nobody_is_reached() -> None:
    receiver = Receiver()
    async with receiver.up() as url:
        pass
    assert await send(url) == Answer(trouble="unreachable")


async def test_a_name_that_nobody_knows_cannot_be_reached() -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    sender = HttpSender(LOOPBACK, resolve=nobody)
    assert await sender.send("https://a.example/", {}, BODY) == Answer(trouble="unreachable")


async def test_this_machine_is_not_reached_unless_that_is_allowed() -> None:
    receiver = Receiver()
    async with receiver.up() as url:
        for address in (url, url.replace("http://", "https://"), "https://localhost:1/"):
            assert await HttpSender().send(address, {}, BODY) == Answer(trouble="forbidden_address")
    assert receiver.received == []


async def test_a_proxy_of_the_surroundings_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = Receiver(), Receiver()
    async with proxy.up() as elsewhere, receiver.up() as url:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, elsewhere)
        assert await send(url) == Answer(204)
    assert (len(receiver.received), proxy.received) == (1, [])


@asynccontextmanager
async def over_tls(folder: Path) -> AsyncIterator[tuple[str, Receiver, ssl.SSLContext]]:
    """A receiver with a certificate for 127.0.0.1, and who trusts it."""
    receiver, server = Receiver(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority_in(folder), folder / "key.pem")
    async with receiver.up(server) as url:
        yield url, receiver, ssl.create_default_context(cafile=str(authority_in(folder)))


async def test_tls_is_verified_by_the_name_that_was_registered(tmp_path: Path) -> None:
    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with over_tls(tmp_path) as (url, receiver, trusting):
        assert await send(url, tls=trusting) == Answer(204)
        assert await send(url) == Answer(trouble="certificate"), "nobody vouches for it"
        named = url.replace("127.0.0.1", "hooks.example")
        answer = await send(named, tls=trusting, resolve=here)
        assert answer == Answer(trouble="certificate"), "it is somebody else's"
    assert len(receiver.received) == 1


async def test_who_does_not_speak_tls_is_not_told() -> None:
    receiver = Receiver()
    async with receiver.up() as url:
        answer = await send(url.replace("http://", "https://"), seconds=0.3)
    assert answer.trouble in {"certificate", "timed_out", "unreachable", "broken"}
    assert receiver.received == []

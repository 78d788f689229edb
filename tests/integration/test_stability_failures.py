"""How calls to Stability AI fail: what it refuses, how long it asks to wait, what breaks off."""

from __future__ import annotations

import gzip
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from application.ports.providers import CallFailedError, OutcomeUnknownError
from infrastructure.providers.stability import StabilityProvider, _body
from infrastructure.providers.stability_errors import NOTHING_WAS_SENT, broken_off, refused
from tests.contracts.stages.stability import STAGE
from tests.integration.stability_calls import asking, failure_of, wish
from tests.servers.protocol import ProtocolServer, serving
from tests.servers.raw import answering, authority_in, breaking_tls, said
from tests.servers.stability import KEY
from tests.servers.stability import server as stability_server


@pytest.fixture
def server() -> ProtocolServer:
    return stability_server()


@pytest.fixture
async def stability(server: ProtocolServer) -> AsyncIterator[StabilityProvider]:
    async with serving(server) as address, asking(address) as provider:
        yield provider


# --- what is not even sent -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {"images": (1, 2)},
        {"model": "sd4"},
        {"size": "1x1"},
        {"prompt": "a lighthouse \ud800"},
        {"negative_prompt": "boats \ud800"},
    ],
)
async def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    server: ProtocolServer, stability: StabilityProvider, asked: dict[str, Any]
) -> None:
    failed = await failure_of(stability, wish(**asked))
    is_theirs = "model" in asked
    assert failed.failure.kind == ("misconfigured" if is_theirs else "invalid_request")
    assert failed.failure.of_model is is_theirs
    assert "lighthouse" not in "".join(traceback.format_exception(failed))
    assert server.switches.seen == []


@pytest.mark.parametrize(("key", "posts"), [(f"{KEY}\n", 0), ("sk-ключ", 1)])
async def test_a_key_of_other_letters_is_the_operators_to_change_and_is_not_shown(
    server: ProtocolServer, key: str, posts: int
) -> None:
    async with serving(server) as address, asking(address, key) as stability:
        failed = await failure_of(stability, wish())
    assert failed.failure.kind == "misconfigured"
    assert key.strip() not in "".join(traceback.format_exception(failed))
    assert len(server.switches.seen) == posts


# --- what is paid for ----------------------------------------------------------------------------


async def test_what_is_paid_for_is_what_the_server_bills(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    for fault in STAGE.errors:
        before = server.switches.billed
        server.switches.tell(next=[fault])
        failed = await failure_of(stability, wish("core"))
        billed = (server.switches.billed - before) * Decimal("0.03")
        assert (failed.cost.amount if failed.cost else 0) == billed, fault


@pytest.mark.parametrize(
    ("fault", "billing", "recorded", "billed"),
    [
        ("content_filtered", {"bills_filtered": False}, Decimal("0.03"), 0),
        ("content_moderation", {"bills_refused": True}, None, 1),
    ],
)
async def test_what_is_recorded_of_a_refusal_is_an_assumption_whatever_the_bill_says(
    server: ProtocolServer,
    stability: StabilityProvider,
    fault: str,
    billing: dict[str, bool],
    recorded: Decimal | None,
    billed: int,
) -> None:
    server.switches.options.update(billing)
    server.switches.tell(next=[fault])
    failed = await failure_of(stability, wish("core"))
    assert (failed.cost and failed.cost.amount) == recorded
    assert server.switches.billed == billed


# --- what is read of an answer -------------------------------------------------------------------


class Endless(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield bytes(1024 * 1024)


@pytest.mark.parametrize(("status", "megabytes"), [(200, 65), (500, 1)])
async def test_an_answer_that_never_ends_is_not_read_to_its_end(
    status: int, megabytes: int
) -> None:
    body = await _body(httpx.Response(status, stream=Endless()))
    assert len(body) == megabytes * 1024 * 1024


@pytest.mark.parametrize(("status", "kind"), [(200, "no_image"), (402, "out_of_funds")])
async def test_what_is_compressed_though_nobody_asked_for_it_is_not_unpacked(
    status: int, kind: str
) -> None:
    packed = gzip.compress(b"a picture, or gigabytes")
    headers = {"content_type": "image/png", "finish_reason": "SUCCESS", "content_encoding": "gzip"}
    answer = said(status, packed, **headers)
    async with answering(answer) as (address, raw), asking(address) as stability:
        assert (await failure_of(stability, wish())).failure.kind == kind
    assert b"accept-encoding: identity" in raw.asked[0].lower()


async def test_an_answer_that_says_it_is_as_it_is_may_be_read() -> None:
    headers = {"content_type": "image/png", "finish_reason": "SUCCESS"}
    as_it_is = said(200, b"a picture", **headers, content_encoding="identity")
    async with answering(as_it_is) as (address, _), asking(address) as stability:
        assert (await stability.call(wish())).pictures[0].data == b"a picture"


async def test_neither_what_the_provider_wrote_nor_an_end_of_the_key_is_repeated(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    for fault in [*STAGE.errors, *STAGE.lost]:
        server.switches.tell(next=[fault])
        with pytest.raises((CallFailedError, OutcomeUnknownError)) as failed:
            await stability.call(wish())
        told = f"{failed.value!r} {vars(failed.value)}"
        for secret in (KEY[:5], KEY[-4:], "flagged", "purchase", "<html>"):
            assert secret not in told, fault


# --- what a refusal comes to ---------------------------------------------------------------------


def test_a_wait_that_stability_asks_for_is_never_shorter_than_its_own_nor_endless() -> None:
    for asked, seconds in [("5", 60), ("90", 90), ("999999999", 3600), ("soon", 60)]:
        answer = httpx.Response(429, headers={"retry-after": asked})
        failed = refused(answer, b"")
        assert isinstance(failed, CallFailedError)
        assert failed.failure.retry_after == timedelta(seconds=seconds)


def test_a_wait_until_a_date_is_heard() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    failed = refused(httpx.Response(503, headers={"retry-after": then}), b"")
    assert isinstance(failed, CallFailedError)
    assert failed.failure.retry_after is not None
    assert timedelta(minutes=4) < failed.failure.retry_after <= timedelta(minutes=5)


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"name": 7, "errors": "x"}', b"[" * 60_000])
def test_whatever_a_refusal_says_it_is_one(body: bytes) -> None:
    failed = refused(httpx.Response(403), body)
    assert isinstance(failed, CallFailedError)
    assert failed.failure.kind == "misconfigured"


@pytest.mark.parametrize("status", [408, 504, 524])
def test_who_gave_up_waiting_is_told_by_whose_words_they_are(status: int) -> None:
    page = refused(httpx.Response(status), b"<html>")
    assert isinstance(page, OutcomeUnknownError)
    own = refused(httpx.Response(status), b'{"id": "1", "name": "timed_out", "errors": []}')
    assert isinstance(own, CallFailedError)
    assert own.failure.kind == "unavailable"


async def test_a_status_that_there_is_not_is_an_outcome_too() -> None:
    async with answering(said(600)) as (address, _), asking(address) as stability:
        assert (await failure_of(stability, wish())).failure.kind == "unavailable"


# --- what breaks off -----------------------------------------------------------------------------

PERHAPS_SENT = {
    *(httpx.WriteError, httpx.WriteTimeout, httpx.ReadError, httpx.ReadTimeout),
    *(httpx.CloseError, httpx.RemoteProtocolError, httpx.DecodingError),
}
NEVER_RAISED = {httpx.TooManyRedirects, httpx.HTTPStatusError}  # redirects are off, statuses read


def leaves(error: type[httpx.HTTPError]) -> set[type[httpx.HTTPError]]:
    below = [kind for kind in error.__subclasses__() if kind.__module__.startswith("httpx")]
    return set().union(*(leaves(kind) for kind in below)) if below else {error}


def test_every_error_of_httpx_is_decided() -> None:
    assert leaves(httpx.HTTPError) == {*NOTHING_WAS_SENT, *PERHAPS_SENT, *NEVER_RAISED}
    for kind in PERHAPS_SENT:
        assert isinstance(broken_off(kind("the key")), OutcomeUnknownError)
    for kind in NOTHING_WAS_SENT:
        assert isinstance(broken_off(kind("the key")), CallFailedError)


def test_a_stream_that_ended_where_httpx_did_not_look_is_lost() -> None:
    assert isinstance(broken_off(anyio.EndOfStream()), OutcomeUnknownError)


async def test_a_broken_record_of_tls_in_the_middle_of_an_answer_loses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_in(tmp_path)))
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + bytes(10)
    async with breaking_tls(half, tmp_path) as address, asking(address) as stability:
        with pytest.raises(OutcomeUnknownError, match="SSLError"):
            await stability.call(wish())

"""How calls to Gemini fail: each problem it answers with, each break of the connection."""

from __future__ import annotations

import asyncio
import base64
import gzip
import inspect
import json
import logging
import socket
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from google.genai import _api_client, errors

from application.ports.providers import CallFailedError, OutcomeUnknownError
from domain.failure import Failure
from infrastructure.providers.gemini_failures import OUTCOMES, outcome
from tests.e2e.stack import free_port
from tests.integration.gemini_calls import Gemini, gemini, request_for
from tests.servers import protocol
from tests.servers.gemini_answers import ANSWERS
from tests.servers.gemini_problems import ERRORS
from tests.servers.protocol import TRANSPORT_FAULTS
from tests.servers.raw import answering, authority_in, breaking_tls, said

BLOB = {"mimeType": "image/png", "data": base64.b64encode(b"a picture").decode()}
PICTURE = json.dumps({"candidates": [{"content": {"parts": [{"inlineData": BLOB}]}}]}).encode()


@pytest.fixture
async def asking() -> AsyncIterator[Gemini]:
    """A provider and its other side."""
    async with gemini() as both:
        yield both


# --- what Gemini answers -------------------------------------------------------------------------


async def test_a_wrong_key_is_the_operators_to_change() -> None:
    async with gemini(api_key="AIza-of-somebody-else") as asking:
        failure = (await asking.failure()).failure
    assert failure.kind == "misconfigured"
    assert "GEMINI_API_KEY" in failure.message


@pytest.mark.parametrize("key", ["ключ", "auth_tokens/for-somebody's-browser"])
async def test_a_key_that_cannot_be_sent_is_the_operators_to_change(key: str) -> None:
    async with gemini(api_key=key) as asking:
        assert (await asking.failure()).failure.kind == "misconfigured"
        assert asking.posts == 0


@pytest.mark.parametrize("status", [302, 404])
async def test_an_address_that_is_not_gemini_s_is_the_operators_to_change(status: int) -> None:
    page = said(status, b"<html>", location="https://elsewhere.example/")
    async with answering(page) as (address, _), gemini(base_url=address) as asking:
        failure = (await asking.failure()).failure
    assert (failure.kind, failure.of_model) == ("misconfigured", False)
    assert "GEMINI_BASE_URL" in failure.message


async def test_an_address_where_nobody_is_is_named() -> None:
    async with gemini(base_url=f"http://127.0.0.1:{free_port()}") as asking:
        assert "GEMINI_BASE_URL" in (await asking.failure()).failure.message


async def test_a_longer_answer_than_there_can_be_is_not_read() -> None:
    async with gemini(max_answer_bytes=100_000) as asking:
        asking.server.switches.options["picture_bytes"] = 50_000
        await asking.make()
        asking.server.switches.options["picture_bytes"] = 200_000
        assert (await asking.failure()).failure.kind == "no_image"


@pytest.mark.parametrize(("status", "kind"), [(200, "no_image"), (402, "out_of_funds")])
async def test_what_is_compressed_though_nobody_asked_for_it_is_not_unpacked(
    status: int, kind: str
) -> None:
    answer = said(status, gzip.compress(PICTURE), content_encoding="gzip")
    async with answering(answer) as (address, raw), gemini(base_url=address) as asking:
        assert (await asking.failure()).failure.kind == kind
    assert b"accept-encoding: identity" in raw.asked[0].lower()


async def test_an_answer_that_says_it_is_as_it_is_may_be_read() -> None:
    answer = said(200, PICTURE, content_encoding="identity")
    async with answering(answer) as (address, _), gemini(base_url=address) as asking:
        assert (await asking.make()).pictures[0].data == b"a picture"


@pytest.mark.parametrize("asked", ["30", "date"])
async def test_a_wait_that_the_header_asks_for_is_heard(asked: str) -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    answer = said(503, b"<html>", retry_after=then if asked == "date" else asked)
    async with answering(answer) as (address, _), gemini(base_url=address) as asking:
        wait = (await asking.failure()).failure.retry_after
    assert wait is not None
    assert timedelta(seconds=20) < wait <= timedelta(seconds=30)


@pytest.mark.parametrize("asked", [{"model": "gemini-9"}, {"size": "1x1"}, {"images": (1, 2)}])
async def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    asking: Gemini, asked: dict[str, Any]
) -> None:
    with pytest.raises(CallFailedError) as failed:
        await asking.provider.call(replace(request_for(), **asked))
    is_theirs = "model" in asked
    assert failed.value.failure.kind == ("misconfigured" if is_theirs else "invalid_request")
    assert failed.value.failure.of_model is is_theirs
    assert asking.posts == 0


@pytest.mark.parametrize("status", [408, 504, 524])
def test_who_gave_up_waiting_is_told_by_whose_words_they_are(status: int) -> None:
    page = outcome(errors.APIError(status, {"status": "timeout", "message": "too long"}))
    assert isinstance(page, OutcomeUnknownError)
    own = outcome(errors.APIError(status, {"error": {"code": status, "status": "CANCELLED"}}))
    assert isinstance(own, CallFailedError)
    assert own.failure.kind == "unavailable"


# --- one call is one request ---------------------------------------------------------------------


async def test_one_call_makes_one_request_whatever_becomes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "DRIP_SECONDS", 0.005)
    async with gemini(read_seconds=1) as asking:
        for fault in (*ERRORS, *ANSWERS, *TRANSPORT_FAULTS):
            asking.server.switches.seen.clear()
            await asking.outcome(fault)
            assert asking.posts == 1, fault


async def test_the_sdk_sends_nothing_again_where_aiohttp_is_installed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_api_client, "has_aiohttp", True)
    async with gemini() as asking:
        assert isinstance(await asking.outcome("drop"), OutcomeUnknownError)
        assert asking.posts == 1


# --- what happens to the connection --------------------------------------------------------------


async def test_connecting_has_a_limit_of_its_own() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        address = f"http://127.0.0.1:{full.getsockname()[1]}"
        async with gemini(base_url=address, connect_seconds=0.2, read_seconds=60) as asking:
            async with asyncio.timeout(20):
                assert (await asking.failure()).failure.kind == "unavailable"
        for one in waiting:
            one.close()


async def test_a_broken_record_of_tls_in_the_middle_of_an_answer_loses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_in(tmp_path)))
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + bytes(10)
    async with breaking_tls(half, tmp_path) as address, gemini(base_url=address) as asking:
        with pytest.raises(OutcomeUnknownError, match="SSLError"):
            await asking.make()


def test_a_stream_that_ended_where_httpx2_did_not_look_is_lost() -> None:
    assert isinstance(outcome(anyio.EndOfStream()), OutcomeUnknownError)


# --- what nobody may read ------------------------------------------------------------------------


async def test_gemini_s_own_words_are_told_nowhere(
    asking: Gemini, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for fault in (
        "quota_of_zero",
        "unavailable",
        "bad_gateway",
        "bad_gateway_in_latin",
        "not_json",
    ):
        told = "".join(traceback.format_exception(await asking.failure(fault))) + caplog.text
        for words in ("Quota exceeded", "overloaded", "passerelle", "all is well"):
            assert words not in told


# --- every error there is ------------------------------------------------------------------------


def error_classes() -> list[type[Exception]]:
    """Of the SDK and of what it speaks through."""
    return [
        known
        for module in (errors, httpx2)
        for _, known in inspect.getmembers(module, inspect.isclass)
        if issubclass(known, Exception) and not issubclass(known, Warning)
    ]


@pytest.mark.parametrize("known", error_classes(), ids=lambda known: known.__name__)
def test_every_error_of_the_sdk_and_of_httpx2_is_mapped(known: type[Exception]) -> None:
    assert known in OUTCOMES


def test_an_error_that_is_mapped_nowhere_is_not_taken_for_an_outcome() -> None:
    with pytest.raises(LookupError, match="ZeroDivisionError"):
        outcome(ZeroDivisionError())


@pytest.mark.parametrize(
    "body",
    [[], "no", None, {"error": "no"}, {"error": {"details": [7, {"@type": 7}], "message": {}}}],
)
def test_a_problem_in_no_known_shape_goes_by_its_status(body: object) -> None:
    failed = outcome(errors.ClientError(429, body))
    assert isinstance(failed, CallFailedError)
    assert failed.failure == Failure(
        kind="rate_limited", message="Gemini accepts no more requests for now."
    )

"""How calls to Gemini fail: each problem it answers with, each break of the connection."""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import traceback
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest
from google.genai import _api_client, errors

from application.ports.providers import Answer, CallFailedError, OutcomeUnknownError
from domain.failure import Failure, FailureKind
from infrastructure.providers.gemini import GeminiProvider
from infrastructure.providers.gemini_failures import OUTCOMES, outcome
from tests.integration.gemini_calls import KEY, PROMPT, Gemini, gemini, request_for
from tests.servers.gemini_answers import ANSWERS, BLOCK_REASONS
from tests.servers.gemini_problems import ERRORS
from tests.servers.protocol import TRANSPORT_FAULTS

LATE = ("hang", "delay", "drip")
LOST = ("refuse", "drop", "lose_answer", "truncate")
PROBLEMS: dict[str, tuple[FailureKind, float | None, bool]] = {
    # what comes: what it is, seconds until it is worth to ask again, whether the model's alone
    "rate_limited": ("rate_limited", 34, True),
    "rate_limited_briefly": ("rate_limited", 0.074824, True),
    "rate_limited_silently": ("rate_limited", None, False),
    "quota_of_the_day": ("out_of_funds", None, True),
    "quota_of_zero": ("out_of_funds", None, True),
    "no_credit": ("out_of_funds", None, False),
    "invalid_argument": ("invalid_request", None, False),
    "api_key_invalid": ("misconfigured", None, False),
    "location_refused": ("misconfigured", None, False),
    "permission_denied": ("misconfigured", None, False),
    "not_found": ("misconfigured", None, True),
    "moved": ("misconfigured", None, False),
    "internal": ("unavailable", None, False),
    "unavailable": ("unavailable", None, False),
    "deadline_exceeded": ("unavailable", None, False),
    "bad_gateway": ("unavailable", None, False),
    "no_content": ("no_image", None, False),
}
REFUSALS: dict[str, FailureKind] = {
    **{f"blocked_{reason.lower()}": "moderation_input" for reason in BLOCK_REASONS},
    "finish_safety": "moderation_output",
    "finish_prohibited_content": "moderation_output",
    "finish_blocklist": "moderation_output",
    "finish_spii": "moderation_output",
    "finish_recitation": "moderation_output",
    "finish_image_safety": "moderation_output",
    "finish_image_prohibited_content": "moderation_output",
    "finish_image_recitation": "moderation_output",
    "blocked_with_picture": "moderation_output",
    "finish_no_image": "no_image",
    "finish_image_other": "no_image",
    "finish_continuation": "no_image",
    "finish_other": "no_image",
    "finish_max_tokens": "no_image",
    "finish_something_new": "no_image",
    "empty_content": "no_image",
    "parts_null": "no_image",
    "role_only": "no_image",
    "no_candidates": "no_image",
    "text_only": "no_image",
    "text_only_without_split": "no_image",
    "broken_base64": "no_image",
    "other_media": "no_image",
    "not_json": "no_image",
    "wrong_shape": "no_image",
    "empty_body": "no_image",
}
PICTURES = ("thoughts", "two_pictures", "no_usage", "no_split", "no_picture_bytes")


@pytest.fixture
async def asking() -> AsyncIterator[Gemini]:
    """A provider and its other side."""
    async with gemini() as both:
        yield both


# --- what Gemini answers -------------------------------------------------------------------------


def test_the_tables_leave_out_nothing_that_the_server_can_do() -> None:
    assert set(PROBLEMS) == set(ERRORS)
    assert {*REFUSALS, *PICTURES} == set(ANSWERS)
    assert {*LATE, *LOST} == set(TRANSPORT_FAULTS)


@pytest.mark.parametrize("fault", PROBLEMS)
async def test_a_problem_is_what_its_status_and_details_say(asking: Gemini, fault: str) -> None:
    failure = (await asking.failure(fault)).failure
    kind, seconds, of_model = PROBLEMS[fault]
    assert (failure.kind, failure.of_model) == (kind, of_model)
    assert failure.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("fault", REFUSALS)
async def test_a_refusal_that_comes_as_200_is_one(asking: Gemini, fault: str) -> None:
    assert (await asking.failure(fault)).failure.kind == REFUSALS[fault]


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


async def test_a_longer_answer_than_there_can_be_is_not_read() -> None:
    async with gemini(max_answer_bytes=100_000) as asking:
        asking.server.switches.options["picture_bytes"] = 50_000
        await asking.make()
        asking.server.switches.options["picture_bytes"] = 200_000
        assert (await asking.failure()).failure.kind == "no_image"


# --- one call is one request ---------------------------------------------------------------------


async def test_one_call_makes_one_request_whatever_becomes_of_it() -> None:
    async with gemini(read_seconds=1) as asking:
        for fault in (*PROBLEMS, *REFUSALS, *PICTURES, *LOST, "hang", "delay"):
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


@pytest.mark.parametrize("fault", LOST)
async def test_nobody_knows_what_became_of_a_request_whose_connection_broke(
    asking: Gemini, fault: str
) -> None:
    assert isinstance(await asking.outcome(fault), OutcomeUnknownError)


async def test_nobody_knows_what_became_of_a_request_that_is_not_answered_in_time() -> None:
    async with gemini(read_seconds=0.2) as asking:
        assert isinstance(await asking.outcome("hang"), OutcomeUnknownError)


async def test_a_slow_answer_is_an_answer(asking: Gemini) -> None:
    assert isinstance(await asking.outcome("drip"), Answer)
    assert asking.posts == 1


async def test_nothing_was_asked_where_nobody_listens() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with gemini(base_url=address) as asking:
            assert (await asking.failure()).failure.kind == "unavailable"


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


async def test_no_call_is_made_over_a_connection_that_the_other_side_may_be_closing() -> None:
    answered, ended = asyncio.Queue[int](), asyncio.Semaphore(0)
    body = b'{"candidates":[]}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await reader.readexactly(int(length.partition(b":")[2]))
        answered.put_nowait(writer.get_extra_info("peername")[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await reader.read()  # until the other side closes
        writer.close()
        await writer.wait_closed()
        ended.release()

    async with await asyncio.start_server(answer, "127.0.0.1") as listening:
        address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        provider = GeminiProvider(api_key=KEY, base_url=address)
        for _ in range(2):
            with pytest.raises(CallFailedError):
                await provider.call(request_for())
        await provider.close()
        for _ in range(2):
            await ended.acquire()
    assert answered.get_nowait() != answered.get_nowait()


# --- what nobody may read ------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*PROBLEMS, *REFUSALS, *LOST])
async def test_neither_key_nor_prompt_nor_gemini_s_words_are_told(
    asking: Gemini, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failed = await asking.outcome(fault)
    assert isinstance(failed, Exception)
    told = "".join(traceback.format_exception(failed)) + caplog.text
    for secret in (KEY, PROMPT, "Quota exceeded", "overloaded", "all is well", "passerelle"):
        assert secret not in told


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

"""schemathesis sends whatever the document allows, and what it does not, while a worker paints."""

from __future__ import annotations

import logging
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, running, settings_for
from tests.surface.fuzz import fuzz

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "15"))  # of each operation
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbelow(2**32))


@pytest.fixture
async def unlimited(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """A service with a worker at work, that nobody can use up and nobody waits long for."""
    limits = {"daily_quota": "unlimited", "monthly_quota": "unlimited", "wait_seconds": "1"}
    secret = "a-secret-key-for-tests"
    settings = settings_for(tmp_path, database_url, redis_url, secret_key=secret, **limits)
    async with running(settings) as stack, stack.at_work(), stack.followed():
        yield stack


@pytest.mark.slow
@pytest.mark.timeout(240 + 20 * EXAMPLES)
async def test_the_service_does_what_its_document_says_whatever_comes(
    unlimited: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    print(f"FUZZ_SEED={SEED}")
    with caplog.at_level(logging.INFO, "interfaces.rest.middleware"):
        code, report = await fuzz(unlimited, tmp_path, f"-n{EXAMPLES}", f"--seed={SEED}")
    print(report)

    assert code == 0, report
    answers = Counter(_statuses(caplog.records))
    assert not [status for status in answers if status >= 500], report
    assert answers[201], "a picture is waited for now and then"
    accepted = answers[201] + answers[202]
    assert min(answers[200], accepted, answers[404], answers[422]) > EXAMPLES, answers
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    await _is_in_good_health(unlimited)


def _statuses(records: list[logging.LogRecord]) -> list[int]:
    return [vars(record)["status"] for record in records if record.getMessage() == "request"]


async def _is_in_good_health(stack: Stack) -> None:
    assert (await stack.client.put("/api/v1/me/preferences", json={})).status_code == 200
    assert (await stack.client.get("/readyz")).status_code == 200
    wish = {"prompt": "a lighthouse", "size": "16x16"}
    headers = {"Prefer": "respond-async"}
    made = (await stack.client.post("/api/v1/generations", json=wish, headers=headers)).json()
    trail = await stack.client.get(
        made["links"]["events"], headers={"Accept": "text/event-stream"}, timeout=60
    )
    assert "event: generation.completed" in trail.text

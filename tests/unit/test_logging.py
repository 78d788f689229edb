"""Log lines say who and why, and no secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from domain.aggregate import caused_by
from infrastructure.logging import configure_logging, formatter

SECRET = "a secret wish"


class Lines:
    """A logger whose lines are kept."""

    def __init__(self, *, console: bool) -> None:
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.setFormatter(formatter(console=console))
        self.log = logging.getLogger("tests.logging")
        self.log.handlers[:] = [self.handler]
        self.log.setLevel(logging.INFO)
        self.log.propagate = False

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def lines() -> Lines:
    return Lines(console=False)


@pytest.fixture
def root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def failure() -> ValidationError:
    class Shape(BaseModel):
        prompt: int

    with pytest.raises(ValidationError) as caught:
        Shape.model_validate({"prompt": SECRET})
    return caught.value


def test_a_line_is_one_json_object(lines: Lines) -> None:
    lines.log.warning("no answer within %d s", 5, extra={"generation": "g-1", "call": 2})

    [line] = lines.objects
    recorded = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(datetime.now(UTC) - recorded) < timedelta(minutes=1)
    assert line == {
        "event": "no answer within 5 s",
        "level": "warning",
        "logger": "tests.logging",
        "generation": "g-1",
        "call": 2,
    }


def test_a_line_says_who_caused_it_and_for_which_request(lines: Lines) -> None:
    with caused_by(actor="user:1", correlation_id="request-1"):
        lines.log.info("said")

    assert lines.objects[0]["actor"] == "user:1"
    assert lines.objects[0]["correlation_id"] == "request-1"


def test_a_line_stays_one_line_whatever_is_said(lines: Lines) -> None:
    lines.log.info("two\nlines", extra={"value": "\n\r\u2028", "when": timedelta(seconds=1)})

    assert len(lines.text.split("\n")) == 2
    assert lines.objects[0]["event"] == "two\nlines"


def test_an_error_is_told_without_the_input_it_quotes(lines: Lines) -> None:
    try:
        raise LookupError("no such thing") from failure()
    except LookupError:
        lines.log.exception("failed")

    [line] = lines.objects
    assert SECRET not in lines.text
    assert "builtins.LookupError: no such thing" in line["exception"]
    assert "ValidationError: 1 validation error for Shape" in line["exception"]
    assert "test_logging.py" in line["exception"]


def test_in_a_terminal_a_line_can_be_read() -> None:
    lines = Lines(console=True)

    try:
        raise failure()
    except ValidationError:
        lines.log.exception("failed", extra={"generation": "g-1"})

    assert "failed" in lines.text
    assert "generation=g-1" in lines.text
    assert "ValidationError" in lines.text
    assert SECRET not in lines.text


@pytest.mark.usefixtures("root_as_before")
def test_every_library_logs_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("auto")

    logging.getLogger("uvicorn.error").info("started", extra={"color_message": "\x1b[1mstarted"})
    logging.getLogger("arq.worker").warning("slow")
    logging.getLogger("uvicorn.access").info("never")

    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["logger"], line["event"]) for line in told] == [
        ("uvicorn.error", "started"),
        ("arq.worker", "slow"),
    ]
    assert "color_message" not in told[0]

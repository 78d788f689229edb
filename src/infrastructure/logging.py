"""Log lines: readable in a terminal, one JSON object each everywhere else."""

from __future__ import annotations

import logging
import sys
from traceback import format_tb
from types import TracebackType
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from domain.aggregate import NOBODY, current_metadata

Format = Literal["auto", "json", "console"]
LONGEST_MESSAGE = 300  # characters of an exception's message
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logging(format: Format = "auto") -> None:  # noqa: A002  # the setting's name
    """Send what every module logs, servers and libraries included, to standard error.

    The lines carry who caused them and the correlation id; errors are told without the values that
    their messages may quote.
    """
    console = format == "console" or (format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(console=console))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "arq", "arq.worker"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # we log each request ourselves
    logging.getLogger("arq.worker").setLevel(logging.WARNING)  # and each generation
    for name in ("httpx", "httpx2", "httpcore"):  # each request, with its whole address
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def formatter(*, console: bool) -> logging.Formatter:
    """What makes a line of a record."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _who_and_why,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _tell_exception,
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=40)]
        if console
        else [structlog.processors.JSONRenderer(default=str)]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _who_and_why(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    line.pop("color_message", None)  # uvicorn's message a second time
    metadata = current_metadata()
    if metadata is not NOBODY:
        line["actor"] = metadata.actor
        if metadata.correlation_id is not None:
            line["correlation_id"] = metadata.correlation_id
    return line


def _tell_exception(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    exc_info = line.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    if exc_info and exc_info[1] is not None:
        line["exception"] = exception_text(exc_info[1])
    return line


def exception_text(error: BaseException) -> str:
    """Where it happened and what it is, with its causes.

    Of a message only the start of the first line: behind it validation errors quote their input
    and the database quotes rows.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{exception_text(cause)}\nwhich led to\n" if cause is not None else ""
    first_line = (str(error).splitlines() or [""])[0][:LONGEST_MESSAGE]
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return f"{before}{''.join(format_tb(error.__traceback__))}{name}: {first_line}"

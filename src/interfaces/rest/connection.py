"""What one connection may make this process hold before an application is asked: little."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import NoReturn
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from interfaces.rest.errors import (
    HeadTooLargeError,
    RequestError,
    RequestTimeoutError,
    TooManyConnectionsError,
    UnreadableRequestError,
)
from interfaces.rest.middleware import STALLED_AFTER
from interfaces.rest.problem_types import BUSY, PROBLEM_JSON
from interfaces.rest.problems import RETRY_AFTER, problem_type, to_problem
from interfaces.rest.security import SECURITY_HEADERS

log = logging.getLogger(__name__)

MOST_HEAD_BYTES = 64 * 1024  # of request line, fields and trailer fields together
MOST_CONNECTIONS = 5000  # of one process: its event streams, and as many again
MOST_QUEUED = 32  # requests that were sent without waiting for the answers before them
KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # seconds, seconds, times
LINGER_SECONDS = 1  # for a client that is still sending, or about to


class Connection(HttpToolsProtocol):
    """uvicorn's, with limits; what is refused here is told as a problem, like everything else."""

    most_connections = MOST_CONNECTIONS
    head_seconds = 15.0  # for a whole head, from the connection or its first byte on
    read_seconds = STALLED_AFTER  # for a client to read something of what was written

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own, narrower than asyncio's
        super().connection_made(transport)
        _keep_alive(transport)
        self._head_bytes = 0
        self._unparsed = 0  # bytes since the parser last told of something
        self._in_head = False
        self._refused: RequestError | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._expect_head()
        if len(self.connections) > self.most_connections:
            self._refuse(TooManyConnectionsError())

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._has_read()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let the client go; where its answer began without saying so, it may ask once more.

        What it asks is answered as the last on this connection (`Leaving`). Closing right behind
        the answer would reset a request that is sent as soon as that has come.
        """
        if self.cycle is not None and self.cycle.response_started and not self._at_rest():
            self.timeout_keep_alive = LINGER_SECONDS
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MOST_HEAD_BYTES:
            self._refuse(HeadTooLargeError(MOST_HEAD_BYTES))
        if self._deadline is None and self._at_rest() and not self._refused:
            self._expect_head()

    # --- what the parser tells -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = self._unparsed = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(b": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MOST_QUEUED:
            self._stop_parsing(UnreadableRequestError())
        self._unparsed = 0
        super().on_headers_complete()
        self._in_head = False
        self._head_came()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words
        self._refuse(UnreadableRequestError())

    def _count(self, size: int) -> None:
        self._unparsed = 0
        self._head_bytes += size
        if self._head_bytes > MOST_HEAD_BYTES:
            self._stop_parsing(HeadTooLargeError(MOST_HEAD_BYTES))

    def _stop_parsing(self, error: RequestError) -> NoReturn:
        self._refuse(error)
        raise error

    # --- deadlines -------------------------------------------------------------------------------

    def _at_rest(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _head_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        if self._in_head:
            self._refuse(
                RequestTimeoutError(f"No whole head within {self.head_seconds:g} seconds.")
            )
        else:
            self.transport.close()

    # --- a client that does not read --------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(self.read_seconds, self._reads_nothing)

    def resume_writing(self) -> None:
        self._has_read()
        super().resume_writing()

    def _has_read(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _reads_nothing(self) -> None:
        """Whoever answers it learns that it is gone, and lets go of what is held for it."""
        log.info("a client has stopped reading", extra={"seconds": self.read_seconds})
        self.transport.abort()

    # --- refusing --------------------------------------------------------------------------------

    def _refuse(self, error: RequestError) -> None:
        """Answer, where the answer would be taken for this request's, and read no more."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = error
        self._head_came()
        if not self._next_answer_is_mine():
            self.transport.abort()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(self._answer(error))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _next_answer_is_mine(self) -> bool:
        """Whether all that was asked before is answered, and nothing of this was."""
        if self._in_head or self.cycle is None:
            return self._at_rest()
        return not self.pipeline and not self.cycle.response_started

    def _answer(self, error: RequestError) -> bytes:
        request_id = str(uuid4())
        kind = problem_type(error)
        facts = {"status": kind.status, "problem": kind.code, "correlation_id": request_id}
        log.info("a request could not be read", extra=facts)
        body = to_problem(kind, str(error), request_id=request_id)
        headers = [
            *self.server_state.default_headers,
            *SECURITY_HEADERS,
            (b"x-request-id", request_id.encode()),
            (b"content-type", PROBLEM_JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if kind is BUSY:
            headers.append((b"retry-after", str(RETRY_AFTER).encode()))
        lines = (b"%b: %b\r\n" % header for header in headers)
        return b"".join((STATUS_LINE[kind.status], *lines, b"\r\n", body))


def _keep_alive(transport: asyncio.Transport) -> None:
    """Let TCP itself break the silence of a client that waits for long.

    Whatever forgets idle connections on the way remembers this one, and a client that has vanished
    is noticed.
    """
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE.items():
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

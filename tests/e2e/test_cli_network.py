"""Client commands before a service that is not well, or is somebody else's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.typed import darkroom

EMPTY = {"items": [], "nextCursor": None}
BUSY = {"status": 503, "code": "temporary-reduced-capacity", "detail": "Not now.", "requestId": "7"}


@contextmanager
def answering(*answers: tuple[int, Any]) -> Iterator[dict[str, str]]:
    """A service with answers for one request after the other; the last one stays."""
    left = list(answers)

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = left.pop(0) if len(left) > 1 else left[0]
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", f"{len(sent)}")
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield {"DARKROOM_URL": url, "DARKROOM_API_KEY": "a-key-for-tests"}
        server.shutdown()


async def test_a_busy_service_is_asked_again_when_it_says(tmp_path: Path) -> None:
    with answering((503, BUSY), (502, b"<html>a proxy</html>"), (200, EMPTY)) as service:
        typed = await darkroom("history", folder=tmp_path, **service)
    assert typed.status == 0, typed.err
    assert typed.err.count("trying again") == 2
    assert "it answered 503" in typed.err


async def test_a_service_that_stays_busy_is_unavailable(tmp_path: Path) -> None:
    with answering((503, BUSY)) as service:
        typed = await darkroom("history", folder=tmp_path, **service)
        as_json = await darkroom("history", "--json", folder=tmp_path, **service)
    typed.refused(6, "Not now.")
    assert (as_json.status, json.loads(as_json.err)) == (6, BUSY)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>welcome</html>"), (301, b""), (404, b"none"), (200, [1])]
)
async def test_somebody_elses_server_is_recognised(tmp_path: Path, status: int, body: Any) -> None:
    with answering((status, body)) as service:
        typed = await darkroom("history", folder=tmp_path, **service)
    typed.refused(6, f"answers {status}, but not as Darkroom does. Look at DARKROOM_URL.")


async def test_without_a_key_nothing_is_asked(tmp_path: Path) -> None:
    typed = await darkroom("history", folder=tmp_path)
    typed.refused(3, "There is no API key", "start `darkroom up`")
    typed = await darkroom("history", folder=tmp_path, DARKROOM_URL="https://pictures.example.com")
    typed.refused(3, "DARKROOM_API_KEY is not set: set it to an API key for https://pictures.")
    typed = await darkroom("history", folder=tmp_path, DARKROOM_URL="pictures.example.com")
    typed.refused(2, "DARKROOM_URL must be an address such as https://")

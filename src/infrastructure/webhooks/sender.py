"""One try: a POST to where a stranger says, of which nothing but the status matters."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from urllib.parse import urlsplit

import httpcore
import httpx

from domain.retries import Answer
from infrastructure.retry_after import wait_of
from infrastructure.webhooks.addresses import (
    CheckedBackend,
    ForbiddenAddressError,
    Network,
    Resolve,
    resolve,
)

SECONDS = 15.0  # for all of it: the name, the connection, TLS, the request, the status
SECONDS_TO_CONNECT = 5.0  # to each address
MOST_SENDING = 64  # at once
HEADERS = {"content-type": "application/json", "user-agent": "Darkroom-Webhooks/1"}


class HttpSender:
    """Sends over a connection of its own each time: no redirect, no proxy, no cookie, no body read.

    Plain HTTP goes to the networks that are `allowed` all the same, and nowhere else.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        seconds: float = SECONDS,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._seconds = seconds
        self._given_tls = tls
        self._allowed, self._resolve = tuple(allowed), resolve

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpx.create_ssl_context()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._send(_parsed(url), {**HEADERS, **headers}, body)
        except (TimeoutError, httpcore.TimeoutException):
            return Answer(trouble="timed_out")
        except ForbiddenAddressError:
            return Answer(trouble="forbidden_address")
        except (OSError, httpcore.ConnectError) as error:
            return Answer(trouble="certificate" if _is_about_tls(error) else "unreachable")
        except (httpcore.ProtocolError, httpcore.NetworkError):
            return Answer(trouble="broken")

    async def _send(self, url: httpcore.URL, headers: Mapping[str, str], body: bytes) -> Answer:
        network = CheckedBackend(
            self._allowed, only_allowed=url.scheme != b"https", resolve=self._resolve
        )
        connection = httpcore.AsyncHTTPConnection(
            url.origin, ssl_context=self._tls, keepalive_expiry=0.0, network_backend=network
        )
        sent = [*headers.items(), ("connection", "close")]
        timeouts = {"connect": SECONDS_TO_CONNECT}
        try:
            async with connection.stream(
                "POST", url, headers=sent, content=body, extensions={"timeout": timeouts}
            ) as response:
                return Answer(response.status, retry_after=_retry_after(response.headers))
        finally:
            await connection.aclose()
            await network.close()


def _parsed(url: str) -> httpcore.URL:
    """Not by the library, which drops what stands behind a semicolon."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return httpcore.URL(
        scheme=parts.scheme, host=parts.hostname or "", port=parts.port, target=target
    )


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> timedelta | None:
    told = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}
    return wait_of(told)


def _is_about_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False

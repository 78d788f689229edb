"""How a process that is about to stop lets its clients go, none of whose requests may fail."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CLOSE = (b"connection", b"close")


class Leaving:
    """What is answered from `begin` on is the last on its connection: the next goes elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._has_begun = False

    def begin(self) -> None:
        """The process stops soon."""
        self._has_begun = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and self._has_begun:
                message["headers"] = [h for h in message["headers"] if h[0] != CLOSE[0]] + [CLOSE]
            await send(message)

        await self._app(scope, receive, send_and_close)

"""Links that log the administrator in once, made by whoever has the administrator's key."""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import datetime, timedelta
from hashlib import sha256

LINK_LASTS = timedelta(minutes=10)

_TOKEN = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{22})\.([0-9a-f]{64})")


class LinkRefusedError(Exception):
    """A login link was made up, cut short, or made too long ago or with another key."""

    def __init__(self) -> None:
        super().__init__(
            "This login link is not valid (any more). Have a new one made: `darkroom login-link`."
        )


class LoginLinks:
    """Makes the tokens of links, and knows its own; which were used, the log of decisions knows."""

    def __init__(self, admin_key: str) -> None:
        self._key = hmac.digest(admin_key.encode(), b"darkroom login link", sha256)

    def token(self, now: datetime) -> str:
        """A new one, good for LINK_LASTS."""
        said = f"{int((now + LINK_LASTS).timestamp())}.{secrets.token_urlsafe(16)}"
        return f"{said}.{self._signature(said)}"

    def id_of(self, token: str, now: datetime) -> str:
        """What a use of it is remembered by. Raises LinkRefusedError."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise LinkRefusedError
        said = f"{match[1]}.{match[2]}"
        is_ours = hmac.compare_digest(match[3], self._signature(said))
        if not is_ours or int(match[1]) <= now.timestamp():
            raise LinkRefusedError
        return match[2]

    def _signature(self, said: str) -> str:
        return hmac.digest(self._key, said.encode(), sha256).hex()

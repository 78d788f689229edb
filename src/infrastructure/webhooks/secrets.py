"""The secrets of webhooks: made of the service's own, each time one is needed."""

from __future__ import annotations

import base64
import hmac
from uuid import UUID

from application.ports.webhooks import InsecureAddressError, WebhooksOffError


class DerivedSecrets:
    """HMAC-SHA256 of whose it is and its number, under DARKROOM_SECRET_KEY: nothing is stored."""

    def __init__(self, secret_key: str | None, *, plain_http: bool = False) -> None:
        self._key = secret_key
        self._plain_http = plain_http

    def secret(self, owner: UUID, number: int) -> str:
        if self._key is None:
            raise WebhooksOffError
        made = hmac.digest(self._key.encode(), f"webhook:{owner}:{number}".encode(), "sha256")
        return f"whsec_{base64.b64encode(made).decode()}"

    def refuse_if_off(self) -> None:
        if self._key is None:
            raise WebhooksOffError

    def refuse_insecure(self, url: str) -> None:
        if not (url.startswith("https://") or self._plain_http):
            raise InsecureAddressError

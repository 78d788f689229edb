"""What others keep for us, and can neither read nor change."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256

from cryptography.fernet import Fernet, InvalidToken


class Seal:
    """Seals for one `purpose`, by a key that is made of `secret`: other purposes' do not open."""

    def __init__(self, secret: str, purpose: str) -> None:
        key = hmac.digest(secret.encode(), f"darkroom {purpose}".encode(), sha256)
        self._fernet = Fernet(urlsafe_b64encode(key))

    def close(self, content: bytes) -> str:
        """What can be given out, as a word that fits into a cookie."""
        return self._fernet.encrypt(content).decode()

    def open(self, sealed: str) -> bytes | None:
        """What is inside; None for what was not sealed so."""
        try:
            return self._fernet.decrypt(sealed.encode())
        except (InvalidToken, UnicodeEncodeError):
            return None

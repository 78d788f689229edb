"""Somebody else who knows who people are: where they prove it, and what is then said of them."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

GOOGLE = "https://accounts.google.com"
"""What Google calls itself as an identity provider."""


class IdentityProviderUnavailableError(Exception):
    """It does not answer, or not as it must: nothing is known of whoever wants to log in.

    `why` is for operators, as the log has it.
    """

    def __init__(self, why: str = "") -> None:
        super().__init__("The login provider does not answer. Log in again in a moment.")
        self.why = why


class CodeRefusedError(Exception):
    """What the browser brought back from the provider is worth nothing to it (any more)."""

    def __init__(self) -> None:
        super().__init__(
            "The login provider does not take back what it sent along with you: it was used before,"
            " or took too long. Log in again."
        )


class IdentityUnprovenError(Exception):
    """What the provider says cannot be relied on; the log says why."""

    def __init__(self) -> None:
        super().__init__(
            "What the login provider says of you cannot be verified, so you are not logged in. Tell"
            " whoever runs the service."
        )


@dataclass(frozen=True)
class Attempt:
    """One try to log in: what makes sure that its end belongs to its beginning.

    All three words are made of one `secret`, which only the browser that tries keeps.
    """

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def state(self) -> str:
        """What the provider hands back through the browser."""
        return self._word("state")

    @property
    def nonce(self) -> str:
        """What the provider signs together with what it says of them."""
        return self._word("nonce")

    @property
    def verifier(self) -> str:
        """What only we can show of what was hashed in the beginning (PKCE, RFC 7636)."""
        return self._word("verifier")

    def _word(self, what: str) -> str:
        return urlsafe_b64encode(sha256(f"{what}:{self.secret}".encode()).digest())[:-1].decode()


@dataclass(frozen=True)
class Identity:
    """What a provider vouches for.

    `email_is_verified` is None where it does not say; `hosted_domain` is the organisation at
    Google that manages the account.
    """

    issuer: str
    subject: str
    email: str | None = None
    email_is_verified: bool | None = None
    name: str | None = None
    picture_url: str | None = None
    hosted_domain: str | None = None


class IdentityProvider(Protocol):
    """Where people prove who they are. Its answers are verified before they are believed."""

    async def address(self, attempt: Attempt) -> str:
        """Where to send a browser. Raises IdentityProviderUnavailableError."""
        ...

    async def identity(self, attempt: Attempt, *, code: str, issuer: str | None) -> Identity:
        """Who came back with this code from whoever calls itself `issuer` (RFC 9207), if it does.

        Raises IdentityProviderUnavailableError, CodeRefusedError, IdentityUnprovenError.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...

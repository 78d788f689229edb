"""ID tokens: whose signature counts, and what is believed of what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]  # authlib ships no types
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet
from joserfc.jws import JWSRegistry

from application.ports.identity import Identity

Claims = Mapping[str, Any]

ASYMMETRIC: Final = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
) | {"Ed25519"}
"""Of which only the provider has the signing half: never `none`, nor HS, for which we have both."""
LEEWAY: Final = 60  # seconds between its clock and ours
LONGEST_SUBJECT: Final = 255  # as the standard has it
LONGEST_EMAIL, LONGEST_NAME, LONGEST_ADDRESS = 254, 200, 2000

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_OTHER_KEYS = (InvalidKeyIdError, BadSignatureError)
_NOT_READABLE = (JoseError, ValueError, TypeError, KeyError)


class TokenRefusedError(Exception):
    """What was said is not proven; the message says what is wrong, and nothing of whom."""


class OtherKeyError(TokenRefusedError):
    """It was signed by a key that is not among those that are known."""


class IdTokens:
    """Reads the ID tokens that one provider makes for one client."""

    def __init__(
        self, *, issuer: str, client_id: str, algorithms: Sequence[str], now: Callable[[], datetime]
    ) -> None:
        self._client_id, self._now = client_id, now
        self._algorithms = ASYMMETRIC.intersection(algorithms)
        self._must_be = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": client_id},
        }

    def read(self, tokens: Mapping[str, Any], keys: Mapping[str, Any], *, nonce: str) -> Claims:
        """What the ID token says, once all of it is verified.

        Raises TokenRefusedError, of which OtherKeyError says that newer keys may help.
        """
        try:
            signed = self._signed(tokens["id_token"], _usable(keys))
            expected = {
                "nonce": nonce,
                "client_id": self._client_id,
                "access_token": tokens.get("access_token"),
            }
            claims = CodeIDToken(signed.claims, signed.header, self._must_be, expected)
            claims.validate(now=int(self._now().timestamp()), leeway=LEEWAY)
        except _OTHER_KEYS as error:
            raise OtherKeyError(f"{error}") from error
        except _NOT_READABLE as error:
            raise TokenRefusedError(f"{error}") from error
        return dict(claims)

    def _signed(self, token: str, keys: KeySet) -> jwt.Token:
        if not self._algorithms:  # or joserfc would take its own, of which some are symmetric
            raise TokenRefusedError("the provider signs with none of the algorithms that count")
        registry = JWSRegistry(algorithms=self._algorithms, strict_check_header=False)
        return jwt.decode(token, key=keys, registry=registry)


def _usable(keys: Mapping[str, Any]) -> KeySet:
    """One key that nobody can read does not make the others useless; a public secret is none."""
    return KeySet([usable for key in keys["keys"] if (usable := _imported(key))])


def _imported(key: Any) -> Key | None:
    try:
        return None if key["kty"] == "oct" else JWKRegistry.import_key(key)
    except _NOT_READABLE:
        return None


def identity_of(claims: Claims) -> Identity:
    """What is kept of verified claims. Raises TokenRefusedError."""
    subject = claims["sub"]
    if not _text(subject, LONGEST_SUBJECT) == subject:
        raise TokenRefusedError("its subject is no short, printable text")
    email = _text(claims.get("email"), LONGEST_EMAIL)
    picture = _text(claims.get("picture"), LONGEST_ADDRESS)
    return Identity(
        issuer=claims["iss"],
        subject=subject,
        email=email if email and _EMAIL.fullmatch(email) else None,
        email_is_verified=_flag(claims.get("email_verified")),
        name=_text(claims.get("name"), LONGEST_NAME),
        picture_url=picture if picture and picture.startswith("https://") else None,
        hosted_domain=_text(claims.get("hd"), LONGEST_EMAIL),
    )


def _text(value: Any, longest: int) -> str | None:
    """Without what nobody sees; None where it is no text, or too long to be meant."""
    if not isinstance(value, str):
        return None
    seen = "".join(character for character in value if character.isprintable()).strip()
    return seen if 0 < len(seen) <= longest else None


def _flag(value: Any) -> bool | None:
    """Some providers write it as a text."""
    if value is True or value == "true":
        return True
    return False if value is False or value == "false" else None

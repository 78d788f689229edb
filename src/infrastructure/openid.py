"""Any OpenID Connect provider, found by its issuer: authorization code with PKCE, by authlib."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote_plus

import httpx2
from authlib.integrations.base_client import (  # type: ignore[import-untyped]  # it ships none
    OAuthError,
)
from authlib.integrations.httpx_client import (  # type: ignore[import-untyped]  # it ships none
    AsyncOAuth2Client,
)
from authlib.oidc.discovery import get_well_known_url  # type: ignore[import-untyped]  # as above
from pydantic import BaseModel, ConfigDict

from application.ports.identity import (
    Attempt,
    CodeRefusedError,
    Identity,
    IdentityProviderUnavailableError,
    IdentityUnprovenError,
)
from infrastructure.openid_tokens import (
    Claims,
    IdTokens,
    OtherKeyError,
    TokenRefusedError,
    identity_of,
)
from infrastructure.providers.connections import bounded

log = logging.getLogger(__name__)

SCOPE: Final = "openid email profile"
LONGEST_ANSWER: Final = 256 * 1024  # bytes
WHOLE_SECONDS: Final = 10.0  # for everything that one request of ours asks
KEEP_SECONDS: Final = 3600.0  # what it says of itself, and its keys

T = TypeVar("T")


class Metadata(BaseModel):
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    model_config = ConfigDict(frozen=True)

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False

    def addresses(self) -> tuple[str, ...]:
        """Where something is asked."""
        named = (self.authorization_endpoint, self.token_endpoint, self.jwks_uri)
        return (*named, self.userinfo_endpoint) if self.userinfo_endpoint else named


class OpenIdProvider:
    """The port. It follows no redirect, and asks the provider's addresses and no others.

    `now` is the clock that its tokens are judged by; `hosted_domain` is the organisation whose
    accounts Google is to offer.
    """

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        redirect_uri: str,
        now: Callable[[], datetime],
        hosted_domain: str | None = None,
    ) -> None:
        self._issuer, self._id, self._secret = issuer, client_id, client_secret
        self._redirect_uri, self._now, self._hosted_domain = redirect_uri, now, hosted_domain
        self._client = AsyncOAuth2Client(
            client_id=client_id,
            client_secret=client_secret,
            code_challenge_method="S256",
            follow_redirects=False,
            timeout=WHOLE_SECONDS,
            limits=httpx2.Limits(max_keepalive_connections=0),
            headers={"accept-encoding": "identity"},
            event_hooks={"response": [_bound]},
        )
        self._metadata: _Kept[Metadata] = _Kept(self._discovered)
        self._keys: _Kept[Mapping[str, Any]] = _Kept(self._keys_published)

    async def address(self, attempt: Attempt) -> str:
        """Where to send a browser. Raises IdentityProviderUnavailableError."""
        hint = {"hd": self._hosted_domain} if self._hosted_domain else {}
        async with _asking("its configuration"):
            metadata = await self._metadata.get()
            address, _ = self._client.create_authorization_url(
                metadata.authorization_endpoint,
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
                redirect_uri=self._redirect_uri,
                scope=SCOPE,
                **hint,
            )
        return str(address)

    async def identity(self, attempt: Attempt, *, code: str, issuer: str | None) -> Identity:
        """Who came back with this code.

        Raises IdentityProviderUnavailableError, CodeRefusedError, IdentityUnprovenError.
        """
        async with _asking("who somebody is"):
            metadata = await self._metadata.get()
            needs_issuer = metadata.authorization_response_iss_parameter_supported
            if issuer != self._issuer and (issuer is not None or needs_issuer):
                raise _unproven("somebody else than the provider sent the browser back")
            tokens = await self._tokens(metadata, code, attempt)
            try:
                claims = await self._verified(metadata, tokens, nonce=attempt.nonce)
                return identity_of(await self._with_profile(metadata, tokens, claims))
            except TokenRefusedError as error:
                raise _unproven(str(error)) from error

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    # --- what the provider is asked --------------------------------------------------------------

    async def _discovered(self) -> Metadata:
        found = await self._json(get_well_known_url(self._issuer, external=True))
        metadata = Metadata.model_validate(found)
        if metadata.issuer != self._issuer:
            raise _AnswerError(f"it calls itself {metadata.issuer!r}, OIDC_ISSUER does not")
        plain = self._issuer.startswith("http://")  # on this machine
        allowed = ("https://", "http://") if plain else ("https://",)
        if not all(address.startswith(allowed) for address in metadata.addresses()):
            raise _AnswerError("it names addresses that are not https")
        return metadata

    async def _keys_published(self) -> Mapping[str, Any]:
        keys = await self._json((await self._metadata.get()).jwks_uri)
        if not isinstance(keys, dict):
            raise _AnswerError("its keys are no JSON object")
        return keys

    async def _tokens(self, metadata: Metadata, code: str, attempt: Attempt) -> Mapping[str, Any]:
        try:
            tokens: Mapping[str, Any] = await self._client.fetch_token(
                metadata.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=attempt.verifier,
                redirect_uri=self._redirect_uri,
                auth=self._client_auth(metadata),
            )
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise CodeRefusedError from error
            raise _AnswerError(f"it refuses our client: {error.error}") from error
        except (ValueError, TypeError) as error:
            raise _AnswerError("its answer to a code is not as it must be") from error
        return tokens

    def _client_auth(self, metadata: Metadata) -> Any:
        """None is authlib's own choice for a client without a secret."""
        if self._secret is None:
            return None
        if "client_secret_post" in metadata.token_endpoint_auth_methods_supported:
            return self._client.client_auth("client_secret_post")
        # RFC 6749, 2.3.1: both are form-encoded first, which authlib leaves out.
        return httpx2.BasicAuth(quote_plus(self._id), quote_plus(self._secret))

    async def _verified(
        self, metadata: Metadata, tokens: Mapping[str, Any], *, nonce: str
    ) -> Claims:
        """What the ID token says. Its keys are looked at again once: they may have changed."""
        reader = IdTokens(
            issuer=self._issuer,
            client_id=self._id,
            algorithms=metadata.id_token_signing_alg_values_supported,
            now=self._now,
        )
        try:
            return reader.read(tokens, await self._keys.get(), nonce=nonce)
        except OtherKeyError:
            return reader.read(tokens, await self._keys.get(anew=True), nonce=nonce)

    async def _with_profile(
        self, metadata: Metadata, tokens: Mapping[str, Any], claims: Claims
    ) -> Claims:
        """With what the provider tells of them at another address, where the token lacks it."""
        address, access = metadata.userinfo_endpoint, tokens.get("access_token")
        if ("email" in claims and "name" in claims) or not address or not isinstance(access, str):
            return claims
        told = await self._json(address, {"Authorization": f"Bearer {access}"})
        if not isinstance(told, dict) or told.get("sub") != claims["sub"]:
            raise TokenRefusedError("its userinfo is about somebody else")
        return {**told, **claims}

    async def _json(self, address: str, headers: Mapping[str, str] | None = None) -> Any:
        response = await self._client.request("GET", address, withhold_token=True, headers=headers)
        response.raise_for_status()
        return response.json()


class _AnswerError(Exception):
    """The provider's answer is not one."""


AWAY = (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, _AnswerError)
NO_ANSWER = (ValueError, RecursionError)  # JSON and addresses that are none


@asynccontextmanager
async def _asking(what: str) -> AsyncIterator[None]:
    """However it fails to answer, whoever logs in is told the same, and the log why."""
    try:
        async with asyncio.timeout(WHOLE_SECONDS):
            yield
    except (*AWAY, *NO_ANSWER) as error:
        told = type(error).__name__ if isinstance(error, NO_ANSWER) else _told(error)
        why = f"the login provider does not say {what}: {told}"
        log.warning(why)
        raise IdentityProviderUnavailableError(why) from error


def _told(error: Exception) -> str:
    return f"{error}".partition("\n")[0] or type(error).__name__


def _unproven(reason: str) -> IdentityUnprovenError:
    log.warning("a login is refused, for what its provider said cannot be verified: %s", reason)
    return IdentityUnprovenError()


async def _bound(response: httpx2.Response) -> None:
    too_large = httpx2.ReadError(f"an answer is larger than {LONGEST_ANSWER} bytes")
    response.stream = bounded(response, LONGEST_ANSWER, too_large)


class _Kept(Generic[T]):
    """What was asked for, kept for a while."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._kept: tuple[float, T] | None = None

    async def get(self, *, anew: bool = False) -> T:
        now = time.monotonic()
        if self._kept is None or anew or now - self._kept[0] > KEEP_SECONDS:
            self._kept = (now, await self._ask())
        return self._kept[1]

"""A provider that lies, fails and hangs: what is believed of it, and what is said instead."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from joserfc import jwt
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from application.ports.identity import (
    Attempt,
    CodeRefusedError,
    Identity,
    IdentityProviderUnavailableError,
    IdentityUnprovenError,
)
from infrastructure import openid
from infrastructure.openid import LONGEST_ANSWER, OpenIdProvider
from infrastructure.openid_tokens import LEEWAY, TokenRefusedError, identity_of
from tests.servers.openid import ADA, CLIENT, SECRET, OpenIdServer, encoded, new_key, unsigned
from tests.servers.protocol import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLBACK = "https://here.example/auth/callback"


@dataclass
class Login:
    """One provider as we see it, and an attempt to log in at it."""

    server: OpenIdServer
    provider: OpenIdProvider
    attempt: Attempt

    async def identity(self, **changed: Any) -> Identity:
        asked = {"code": self.attempt.nonce, "issuer": None, **changed}
        return await self.provider.identity(self.attempt, **asked)

    def sent(self) -> dict[str, Any]:
        (token,) = [one for one in self.server.switches.seen if one.path == "/token"]
        return token.facts


def provider_at(server: OpenIdServer, **changed: Any) -> OpenIdProvider:
    told = {
        "issuer": server.issuer,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "redirect_uri": CALLBACK,
        "now": lambda: datetime.now(UTC),
    }
    return OpenIdProvider(**{**told, **changed})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[OpenIdServer]:
    server = OpenIdServer()
    async with serving(server) as address:
        server.issuer = address
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def login(running: OpenIdServer) -> AsyncIterator[Login]:
    running.restart()
    provider = provider_at(running)
    yield Login(running, provider, Attempt())
    await provider.close()


# --- what is right --------------------------------------------------------------------------------


async def test_a_browser_is_sent_with_a_challenge_a_state_and_a_nonce(login: Login) -> None:
    address = urlsplit(await login.provider.address(login.attempt))
    asked = {name: value for name, [value] in parse_qs(address.query).items()}
    challenge = base64.urlsafe_b64encode(sha256(login.attempt.verifier.encode()).digest())
    assert (
        f"{address.scheme}://{address.netloc}{address.path}" == f"{login.server.issuer}/authorize"
    )
    assert asked == {
        "client_id": CLIENT,
        "response_type": "code",
        "scope": "openid email profile",
        "redirect_uri": CALLBACK,
        "state": login.attempt.state,
        "nonce": login.attempt.nonce,
        "code_challenge": challenge.rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


async def test_what_a_signed_token_says_is_believed(login: Login) -> None:
    assert await login.identity() == Identity(
        issuer=login.server.issuer,
        subject="ada",
        email="ada@example.org",
        email_is_verified=True,
        name="Ada",
        picture_url="https://id.example/ada.png",
    )
    sent = login.sent()
    assert sent["code_verifier"] == login.attempt.verifier
    assert (sent["grant_type"], sent["redirect_uri"]) == ("authorization_code", CALLBACK)


async def test_a_provider_is_asked_once_for_what_it_says_of_itself(login: Login) -> None:
    for _ in range(2):
        await login.provider.address(login.attempt)
        await login.identity()
    assert sorted(login.server.asked()) == [
        "/.well-known/openid-configuration",
        "/keys",
        "/token",
        "/token",
    ]


async def test_what_a_provider_says_of_itself_is_asked_for_again_after_a_while(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    await login.provider.address(login.attempt)
    monkeypatch.setattr(openid, "KEEP_SECONDS", 0.0)
    await login.provider.address(login.attempt)
    assert login.server.asked() == ["/.well-known/openid-configuration"] * 2


async def test_our_secret_goes_into_the_body_where_that_is_offered(login: Login) -> None:
    login.server.metadata = {
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]
    }
    await login.identity()
    assert (login.sent()["client_id"], login.sent()["client_secret"]) == (CLIENT, SECRET)
    assert login.sent()["authorization"] is None


async def test_else_it_is_encoded_as_the_standard_has_it(login: Login) -> None:
    await login.identity()
    shown = base64.b64decode(login.sent()["authorization"].removeprefix("Basic ")).decode()
    assert shown == f"{CLIENT}:a-secret%3Aof%2Btwo%26parts%25"


async def test_a_client_without_a_secret_shows_its_verifier_alone(running: OpenIdServer) -> None:
    running.restart()
    login = Login(running, provider_at(running, client_secret=None), Attempt())
    await login.identity()
    assert login.sent()["client_id"] == CLIENT
    assert "client_secret" not in login.sent()
    await login.provider.close()


async def test_what_the_token_lacks_the_provider_is_asked_for(login: Login) -> None:
    login.server.told = ADA
    assert (await login.identity()).email == "ada@example.org"
    (asked,) = [one for one in login.server.switches.seen if one.path == "/userinfo"]
    assert asked.facts["authorization"] == "Bearer access"


async def test_a_key_that_is_new_is_looked_for_once(login: Login) -> None:
    await login.identity()
    login.server.key = new_key("second")
    login.server.published.append(login.server.key)
    await login.identity()
    assert login.server.asked().count("/keys") == 2


async def test_a_key_that_changed_but_not_its_name_is_found_too(login: Login) -> None:
    await login.identity()
    login.server.key = new_key("first")
    login.server.published = [login.server.key]
    await login.identity()
    assert login.server.asked().count("/keys") == 2


async def test_a_key_that_nobody_can_read_makes_the_others_no_worse(login: Login) -> None:
    unreadable = [{"kty": "AKP", "kid": "x"}, {"kty": "EC", "crv": "P-1", "x": "", "y": ""}, "key"]
    login.server.published = [*unreadable, login.server.key]
    assert (await login.identity()).subject == "ada"


async def test_a_clock_that_differs_a_little_does_not_matter(login: Login) -> None:
    now = int(time.time())
    login.server.claims = {"iat": now + LEEWAY - 5, "exp": now - LEEWAY + 5}
    assert (await login.identity()).subject == "ada"


async def test_what_is_believed_is_text_that_can_be_shown(login: Login) -> None:
    login.server.claims = {
        "name": "\x00A\u202eda ",
        "email": "no address",
        "email_verified": "true",
        "picture": "javascript:alert(1)",
        "hd": ["example.org"],
    }
    identity = await login.identity()
    assert (identity.name, identity.email, identity.picture_url) == ("Ada", None, None)
    assert (identity.email_is_verified, identity.hosted_domain) == (True, None)


async def test_half_a_character_is_no_text_either() -> None:
    identity = identity_of({"iss": "https://id.example", "sub": "ada", "name": "A\ud800da"})
    assert identity.name == "Ada"
    with pytest.raises(TokenRefusedError):
        identity_of({"iss": "https://id.example", "sub": "a\ud800da"})


# --- what is not believed -------------------------------------------------------------------------


def by_another_key(server: OpenIdServer) -> None:
    other = new_key("first")
    server.sign = lambda header, claims: jwt.encode(header, claims, other, algorithms=["ES256"])


def by_an_unpublished_key(server: OpenIdServer) -> None:
    other = new_key("unknown")
    server.sign = lambda header, claims: jwt.encode(
        {**header, "kid": "unknown"}, claims, other, algorithms=["ES256"]
    )


def by_nobody(server: OpenIdServer) -> None:
    server.sign = unsigned


def by_our_secret(server: OpenIdServer) -> None:
    _by_words(server, SECRET.encode())


def by_the_public_key(server: OpenIdServer) -> None:
    _by_words(server, server.key.as_pem(private=False))
    server.published = [server.key, {"kty": "oct", "k": "AAAA", "kid": "words"}]


def _by_words(server: OpenIdServer, words: bytes) -> None:
    """Signed by what both sides know, or everybody does."""

    def sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
        said = unsigned(header, claims, algorithm="HS256").rstrip(".")
        return f"{said}.{encoded(hmac.digest(words, said.encode(), sha256))}"

    server.sign = sign


def cut_short(server: OpenIdServer) -> None:
    server.sign = lambda header, claims: server.signed(header, claims)[:-20]


def changed_afterwards(server: OpenIdServer) -> None:
    def sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
        head, _, signature = server.signed(header, claims).split(".")
        _, body, _ = server.signed(header, {**claims, "sub": "bob"}).split(".")
        return f"{head}.{body}.{signature}"

    server.sign = sign


def saying(**claims: Any) -> Callable[[OpenIdServer], None]:
    return lambda server: server.claims.update(claims)


def answering(**answer: Any) -> Callable[[OpenIdServer], None]:
    return lambda server: setattr(server, "token", answer)


def with_metadata(**told: Any) -> Callable[[OpenIdServer], None]:
    return lambda server: server.metadata.update(told)


def telling_of_somebody_else(server: OpenIdServer) -> None:
    server.told = {**ADA, "sub": "bob"}


LIES: dict[str, Callable[[OpenIdServer], None]] = {
    "signed by another key of the name": by_another_key,
    "signed by an unpublished key": by_an_unpublished_key,
    "not signed": by_nobody,
    "signed by our own secret": by_our_secret,
    "signed by its public key as a secret": by_the_public_key,
    "signed with an algorithm it does not name": with_metadata(
        id_token_signing_alg_values_supported=["RS256"]
    ),
    "named algorithms are all symmetric": with_metadata(
        id_token_signing_alg_values_supported=["HS256", "none"]
    ),
    "cut short": cut_short,
    "changed afterwards": changed_afterwards,
    "no token": answering(id_token=None),
    "no text": answering(id_token=7),
    "no JWT": answering(id_token="x.y"),
    "another issuer": saying(iss="https://elsewhere.example"),
    "the issuer with a slash": lambda server: server.claims.update(iss=f"{server.issuer}/"),
    "no issuer": saying(iss=None),
    "another audience": saying(aud="another-client"),
    "no audience": saying(aud=None),
    "several audiences, and none it is made for": saying(aud=[CLIENT, "another-client"]),
    "made for another of several": saying(aud=[CLIENT, "another"], azp="another"),
    "made for another": saying(azp="another-client"),
    "expired": lambda server: server.claims.update(exp=int(time.time()) - LEEWAY - 5),
    "no expiry": saying(exp=None),
    "an expiry that is none": saying(exp="tomorrow"),
    "from the future": lambda server: server.claims.update(iat=int(time.time()) + LEEWAY + 60),
    "no time": saying(iat=None),
    "another nonce": saying(nonce="another"),
    "no nonce": saying(nonce=None),
    "no subject": saying(sub=None),
    "an empty subject": saying(sub=""),
    "a subject that is none": saying(sub=7),
    "an unprintable subject": saying(sub="a\u0000da"),
    "a long subject": saying(sub="a" * 256),
    "another access token": saying(at_hash="x" * 22),
    "userinfo of somebody else": telling_of_somebody_else,
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_is_not_proven_is_not_believed(login: Login, lie: str) -> None:
    LIES[lie](login.server)
    with pytest.raises(IdentityUnprovenError):
        await login.identity()
    assert login.server.asked().count("/keys") <= 2


async def test_the_log_says_why_and_not_of_whom(
    login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    login.server.claims = {"aud": "another-client"}
    with pytest.raises(IdentityUnprovenError):
        await login.identity()
    assert "cannot be verified" in caplog.text
    assert "aud" in caplog.text
    for secret in (SECRET, "ada", login.attempt.nonce, login.attempt.verifier):
        assert secret not in caplog.text


async def test_who_sends_the_browser_back_says_who_it_is(login: Login) -> None:
    assert (await login.identity(issuer=login.server.issuer)).subject == "ada"
    with pytest.raises(IdentityUnprovenError):
        await login.identity(issuer="https://elsewhere.example")
    assert login.server.asked().count("/token") == 1


async def test_or_does_not_although_it_said_it_would(login: Login) -> None:
    login.server.metadata = {"authorization_response_iss_parameter_supported": True}
    with pytest.raises(IdentityUnprovenError):
        await login.identity()
    assert "/token" not in login.server.asked()


async def test_a_code_that_is_worth_nothing_any_more_says_so(login: Login) -> None:
    login.server.token = JSONResponse({"error": "invalid_grant"}, 400)
    with pytest.raises(CodeRefusedError):
        await login.identity()


# --- what is no answer ----------------------------------------------------------------------------

NO_ANSWERS: dict[str, Response] = {
    "it refuses our client": JSONResponse({"error": "invalid_client"}, 401),
    "it is broken": PlainTextResponse("Internal Server Error", 500),
    "it answers a page": PlainTextResponse("<html>", 200),
    "it answers a list": JSONResponse([]),
    "it sends us on": RedirectResponse("/elsewhere"),
    "it answers a novel": PlainTextResponse("x" * (LONGEST_ANSWER + 1)),
    "its times are no numbers": JSONResponse({"access_token": "a", "expires_in": [1]}),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
async def test_what_is_no_answer_to_a_code_is_the_providers_fault(login: Login, what: str) -> None:
    login.server.token = NO_ANSWERS[what]
    with pytest.raises(IdentityProviderUnavailableError):
        await login.identity()
    assert "/elsewhere" not in login.server.asked()


@pytest.mark.parametrize("fault", ["refuse", "drop", "truncate", "hang"])
@pytest.mark.parametrize(
    "where", ["GET /.well-known/openid-configuration", "POST /token", "GET /keys", "GET /userinfo"]
)
async def test_a_provider_that_is_away_is_said_to_be(
    login: Login, where: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid, "WHOLE_SECONDS", 0.2)
    login.server.told = ADA
    login.server.switches.tell(only=where, always=fault)
    with pytest.raises(IdentityProviderUnavailableError):
        await login.identity()
    login.server.switches.tell(always=None)
    assert (await login.identity()).subject == "ada"


async def test_a_provider_that_drips_is_given_up_as_a_whole(
    login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid, "WHOLE_SECONDS", 0.3)
    login.server.switches.tell(always="drip")
    with pytest.raises(IdentityProviderUnavailableError):
        await login.provider.address(login.attempt)


@pytest.mark.parametrize(
    "told",
    [
        {"issuer": "https://elsewhere.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "ftp://elsewhere.example"},
        {"jwks_uri": None},
        {"jwks_uri": "http://[::1/keys"},
    ],
)
async def test_a_configuration_that_is_none_is_not_gone_by(
    login: Login, told: dict[str, Any]
) -> None:
    login.server.metadata = told
    with pytest.raises(IdentityProviderUnavailableError):
        await login.identity()


async def test_a_providers_addresses_are_encrypted_where_it_is_itself(login: Login) -> None:
    named = openid.Metadata(
        issuer="https://id.example",
        authorization_endpoint="https://id.example/a",
        token_endpoint="http://id.example/t",
        jwks_uri="https://id.example/k",
    )
    provider = provider_at(login.server, issuer="https://id.example")

    async def told(address: str) -> dict[str, Any]:
        return named.model_dump()

    provider._json = told  # type: ignore[method-assign]  # no certificate is at hand
    with pytest.raises(IdentityProviderUnavailableError):
        await provider.address(login.attempt)
    await provider.close()


async def test_many_log_in_at_once(login: Login) -> None:
    attempts = [Attempt() for _ in range(20)]
    asked = (login.provider.identity(one, code=one.nonce, issuer=None) for one in attempts)
    assert {one.subject for one in await asyncio.gather(*asked)} == {"ada"}

"""An OpenID provider that signs whatever a test wants it to say; its codes are the nonces."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.protocol import ProtocolServer, seen

CLIENT, SECRET = "darkroom-client", "a-secret:of+two&parts%"
ADA = {
    "sub": "ada",
    "email": "ada@example.org",
    "email_verified": True,
    "name": "Ada",
    "picture": "https://id.example/ada.png",
}


def new_key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig"})


class OpenIdServer(ProtocolServer):
    """Says what is so, but for what a test changes in `metadata`, `claims`, `token` and `told`.

    None leaves a claim out. `told` is what its userinfo says; `sign` makes the ID token.
    """

    def __init__(self) -> None:
        super().__init__(
            [
                Route("/.well-known/openid-configuration", self._configuration),
                Route("/keys", self._keys),
                Route("/token", self._token, methods=["POST"]),
                Route("/userinfo", self._userinfo),
                Route("/elsewhere", self._elsewhere),
            ],
        )
        self.issuer = ""
        self.key = new_key("first")
        self.restart()

    def restart(self) -> None:
        """Say again what is so."""
        self.published: list[Any] = [self.key]
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.token: dict[str, Any] | Response | None = None
        self.told: dict[str, Any] | None = None
        self.header: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any], dict[str, Any]], str] = self.signed
        self.switches.tell(next=[], always=None, only=None, delay=0.0)
        self.switches.seen.clear()

    def said(self, nonce: str) -> dict[str, Any]:
        """What an ID token is to say."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "nonce": nonce,
            "iat": now,
            "exp": now + 300,
            **(ADA if self.told is None else {"sub": "ada"}),
            **self.claims,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        return jwt.encode(header, claims, self.key, algorithms=["ES256"])

    def asked(self) -> list[str]:
        """Which addresses were asked for."""
        return [one.path for one in self.switches.seen]

    async def _configuration(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
                **self.metadata,
            }
        )

    async def _keys(self, request: Request) -> Response:
        keys = [
            one.as_dict(private=False) if isinstance(one, ECKey) else one for one in self.published
        ]
        return JSONResponse({"keys": keys})

    async def _token(self, request: Request) -> Response:
        sent = dict(parse_qsl((await request.body()).decode()))
        seen(request).facts.update(sent, authorization=request.headers.get("authorization"))
        if isinstance(self.token, Response):
            return self.token
        token = self.sign(
            {"alg": "ES256", "kid": self.key.kid, **self.header}, self.said(sent["code"])
        )
        answer = {"access_token": "access", "token_type": "Bearer", "expires_in": 60}
        return JSONResponse({**answer, "id_token": token, **(self.token or {})})

    async def _userinfo(self, request: Request) -> Response:
        seen(request).facts["authorization"] = request.headers.get("authorization")
        return JSONResponse(self.told or {})

    async def _elsewhere(self, request: Request) -> Response:
        return Response("anybody could be here")


def unsigned(header: dict[str, Any], claims: dict[str, Any], algorithm: str = "none") -> str:
    """As `alg: none` has it."""
    parts = ({**header, "alg": algorithm}, claims)
    return ".".join(encoded(json.dumps(part).encode()) for part in parts) + "."


def encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()

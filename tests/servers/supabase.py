"""A Supabase Storage server, as strict as the real one, with objects in memory.

The true status of nearly every error is a string in the body of a 400. `options`:

- `key`: the only one that is taken (default KEY);
- `error_names`: `legacy` (Duplicate, not_found) or `code` (KeyAlreadyExists, NoSuchKey);
- `file_size_limit`: bytes of an object that the project takes at most;
- `appears_after`: so many looks at a public URL find nothing yet;
- `no_list_v2`: a server that is too old for it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.servers.protocol import ProtocolServer, seen
from tests.servers.supabase_objects import Bucket, StorageRefusal, no_key, refusal
from tests.servers.supabase_routes import ROUTES, Handler

KEY = "sb_secret_a-key-for-tests"

FAULTS: Mapping[str, Callable[[], Response]] = {
    "duplicate": lambda: refusal(409, "KeyAlreadyExists", "The resource already exists"),
    "too_large": lambda: refusal(
        413, "EntityTooLarge", "The object exceeded the maximum allowed size"
    ),
    "forbidden": lambda: refusal(403, "AccessDenied", "new row violates row-level security policy"),
    "invalid_jwt": lambda: refusal(400, "InvalidJWT", "jwt malformed"),
    "invalid_key": lambda: refusal(400, "InvalidKey", "Invalid key: images/secret.png"),
    "invalid_mime_type": lambda: refusal(
        415, "InvalidMimeType", "mime type image/png is not supported"
    ),
    "no_bucket": lambda: refusal(404, "NoSuchBucket", "Bucket not found"),
    "no_key": no_key,
    "locked": lambda: refusal(423, "ResourceLocked", "The resource is locked"),
    "slow_down": lambda: refusal(429, "SlowDown", "Too many connections issued", http=429),
    "internal": lambda: refusal(500, "InternalError", "Internal server error", http=500),
    "database_timeout": lambda: refusal(
        544, "DatabaseTimeout", "The connection to the database timed out", http=544
    ),
    "bad_gateway": lambda: Response("<html>502 Bad Gateway</html>", 502, media_type="text/html"),
    "unauthorized": lambda: JSONResponse({"message": "Invalid API key", "hint": KEY}, 401),
    "redirect": lambda: Response("", 302, headers={"location": "http://127.0.0.1:1/"}),
    "not_json": lambda: Response("<html>maintenance</html>", 200, media_type="text/html"),
    "wrong_shape": lambda: JSONResponse(["surprise"]),
}


class SupabaseServer(ProtocolServer):
    """Its `buckets` and what lies in them can be looked at, and aged, by tests.

    What a test sets as `before` is awaited with each `METHOD /path` before it is done: to hold it.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, Bucket] = {}
        self.before: Callable[[str], Awaitable[None]] | None = None
        super().__init__(
            [
                Route(f"/storage/v1{path}", self._having_faults(handler), methods=methods)
                for path, methods, handler in ROUTES
            ],
            errors=tuple(FAULTS),
        )
        self.switches.options = {"key": KEY}

    def let_it_age(self, **time: float) -> None:
        """As if all that lies here had been put that much earlier."""
        for bucket in self.buckets.values():
            for stored in bucket.objects.values():
                stored.created_at -= timedelta(**time)
                stored.updated_at -= timedelta(**time)

    def uploads(self, bucket: str) -> list[str]:
        """The paths of the uploads to it that were taken, in their order."""
        below = f"/storage/v1/object/{bucket}/"
        return [
            noted.path
            for noted in self.switches.seen
            if noted.path.startswith(below) and noted.facts.get("stored")
        ]

    def option(self, name: str) -> Any:
        return self.switches.options.get(name)

    def bucket(self, request: Request) -> Bucket:
        """The one that the path names. Raises StorageRefusal."""
        name = request.path_params["bucket"]
        if name not in self.buckets:
            raise StorageRefusal(404, "NoSuchBucket", "Bucket not found")
        return self.buckets[name]

    def _having_faults(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            is_public = "/object/public/" in request.url.path or "token" in request.query_params
            try:
                if fault := FAULTS.get(seen(request).fault or ""):
                    return self._named(fault())
                if not is_public and (refused := self._refuse_key(request)):
                    return refused
                if self.before is not None:
                    await self.before(seen(request).request)
                return await handler(self, request)
            except StorageRefusal as error:
                return self._named(error.response())

        return answer

    def _refuse_key(self, request: Request) -> Response | None:
        key = self.option("key")
        if request.headers.get("apikey") != key:
            return JSONResponse({"message": "Invalid API key"}, 401)
        if request.headers.get("authorization") != f"Bearer {key}":
            return refusal(403, "AccessDenied", "Invalid Compact JWS")
        return None

    def _named(self, response: Response) -> Response:
        """The error's name as this release of the server has it."""
        if self.option("error_names") != "code" or not isinstance(response, JSONResponse):
            return response
        body = json.loads(bytes(response.body))
        if isinstance(body, dict) and "code" in body:
            return JSONResponse({**body, "error": body["code"]}, response.status_code)
        return response


server: Callable[[], SupabaseServer] = partial(SupabaseServer)

"""Supabase Storage as it is asked: in time, again where that helps, every error one of ours."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError
from storage3.types import CreateOrUpdateBucketOptions, SearchV2Options

from application.ports.images import ImageNotFoundError, ImageStoreUnavailableError
from infrastructure.image_stores.supabase_errors import (
    GARBLED,
    RAISED,
    AlreadyThereError,
    AnswerTooLargeError,
    BucketGoneError,
    BusyError,
    NotAnObjectError,
    meaning,
)

TIMEOUT = httpx.Timeout(20, connect=5)  # seconds without a sign of life
PAUSES = (0.2, 0.8)  # seconds before it is asked again, less up to a half
MOST_BYTES = 128 * 1024 * 1024  # of one answer; pictures have less
CONNECTIONS = 32
PAGES = ("text/html", "application/json")  # whatever type an object was copied here with

T = TypeVar("T")
Ask = Callable[[AsyncStorageClient], Awaitable[T]]
Answers = tuple[type[Exception], ...]


@dataclass(frozen=True)
class Listed:
    """An object in a bucket; `age` is the time since it was last uploaded, to a second or two."""

    name: str
    age: timedelta


@dataclass(frozen=True)
class Page:
    """Some of the objects of a bucket, in the order of their names; `cursor` leads to the next."""

    objects: Sequence[Listed]
    cursor: str | None


class SupabaseStorage:
    """The storage of one project; `buckets`, and whether each is public, are made when missing."""

    def __init__(self, *, url: str, key: str, buckets: Mapping[str, bool]) -> None:
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            headers={"Accept-Encoding": "identity"},  # so that the bound is one of what arrives
            event_hooks={"response": [_bound, _is_no_page, self._look_at_its_clock]},
            follow_redirects=False,  # nobody else is to see the key
        )
        self._client = AsyncStorageClient(
            f"{url}/storage/v1/",
            {"apiKey": key, "Authorization": f"Bearer {key}"},
            http_client=self._http,
        )
        self._buckets = buckets
        self._prepared = False
        self._preparing = asyncio.Lock()
        self._ahead = timedelta()  # of this machine's clock

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def ask(self, what: Ask[T], *, may_raise: Answers = (), once: bool = False) -> T:
        """Ask, and unless it may be asked `once` only, again in a moment where that helps.

        Raises ImageStoreUnavailableError, and of the other errors those that it `may_raise`: as an
        answer to anything else they make no sense.
        """
        for pause in () if once else PAUSES:
            try:
                return await self._ask_once(what, may_raise)
            except BusyError:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # no secret
            except BucketGoneError:
                continue
        return await self._ask_once(what, may_raise)

    async def page(self, bucket: str, prefix: str, *, limit: int, cursor: str | None) -> Page:
        """The next objects whose names begin with the prefix."""
        wanted = SearchV2Options(prefix=prefix, limit=limit, with_delimiter=False)
        if cursor is not None:
            wanted["cursor"] = cursor
        found = await self.ask(lambda client: client.from_(bucket).list_v2(wanted))
        now = datetime.now(UTC) + self._ahead
        listed = [Listed(one.name, now - one.updated_at) for one in found.objects]
        return Page(listed, found.nextCursor if found.hasNext else None)

    async def age(self, bucket: str, name: str) -> timedelta | None:
        """The time since an object was last uploaded; None when it is not there."""
        page = await self.page(bucket, name, limit=1, cursor=None)
        return next((one.age for one in page.objects if one.name == name), None)

    async def remove(self, bucket: str, names: list[str], *, once: bool = False) -> int:
        """Remove up to a thousand objects; how many of them were there."""

        async def remove(client: AsyncStorageClient) -> int:
            rows = await client.from_(bucket).remove(names)
            return len([row["name"] for row in rows])

        return await self.ask(remove, once=once)

    async def public_sha256(self, url: str) -> str:
        """The hash of what everybody gets at a public URL. Raises ImageNotFoundError."""

        async def read(_: AsyncStorageClient) -> str:
            digest = hashlib.sha256()
            async with self._http.stream("GET", url) as response:
                if response.status_code != httpx.codes.OK:
                    raise _error_in(await response.aread(), response.status_code)
                async for part in response.aiter_bytes():
                    digest.update(part)
            return digest.hexdigest()

        return await self.ask(read, may_raise=(ImageNotFoundError,))

    async def _ask_once(self, what: Ask[T], may_raise: Answers) -> T:
        try:
            await self._prepare()
            return await _translated(what(self._client), may_raise)
        except BucketGoneError:
            self._prepared = False
            raise

    async def _prepare(self) -> None:
        if self._prepared:
            return
        async with self._preparing:
            if not self._prepared:
                for bucket, public in self._buckets.items():
                    await self._look_at(bucket, public=public)
                self._prepared = True

    async def _look_at(self, bucket: str, *, public: bool) -> None:
        try:
            found = await _translated(self._client.get_bucket(bucket))
        except BucketGoneError:
            await self._make(bucket, CreateOrUpdateBucketOptions(public=public))
            return
        if found.public != public:
            raise ImageStoreUnavailableError(
                f"The bucket of pictures, {bucket}, is private. Make it public, or name another one"
                " in SUPABASE_BUCKET."
                if public
                else f"The bucket of references, {bucket}, is public. Make it private: they are for"
                " their owners alone."
            )

    async def _make(self, bucket: str, options: CreateOrUpdateBucketOptions) -> None:
        try:
            creating = self._client.create_bucket(bucket, options=options)
            await _translated(creating, may_raise=(AlreadyThereError,))
        except AlreadyThereError:  # another process has just made it
            return

    async def _look_at_its_clock(self, response: httpx.Response) -> None:
        """The ages of objects go by the server's clock; only what no cache answers tells it."""
        if response.request.method == "POST" and "date" in response.headers:
            try:
                its_time = parsedate_to_datetime(response.headers["date"])
            except ValueError:
                return
            self._ahead = its_time - datetime.now(UTC)


async def _translated(asking: Awaitable[T], may_raise: Answers = ()) -> T:
    """Without the SDK's error behind ours: it quotes what the server said."""
    try:
        return await asking
    except RAISED as error:
        meant = meaning(error)
        if not isinstance(meant, (ImageStoreUnavailableError, *may_raise)):
            meant = BusyError(GARBLED)
        raise meant from None


def _error_in(body: bytes, status: int) -> StorageApiError:
    """As the SDK reads it."""
    try:
        said: Any = json.loads(body)
        return StorageApiError("", said["error"], said["statusCode"])
    except (ValueError, KeyError, TypeError):
        return StorageApiError("", "InternalError", status)


async def _bound(response: httpx.Response) -> None:
    if isinstance(response.stream, httpx.AsyncByteStream):
        response.stream = _BoundedStream(response.stream)


async def _is_no_page(response: httpx.Response) -> None:
    """Who stands in between may answer 200 with a page of its own: that is no object's content."""
    is_object = response.request.method == "GET" and "/object/" in response.request.url.path
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if is_object and response.is_success and content_type in PAGES:
        raise NotAnObjectError("what came is a page")


class _BoundedStream(httpx.AsyncByteStream):
    """Gives up on an answer that never ends."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for part in self._stream:
            left -= len(part)
            if left < 0:
                raise AnswerTooLargeError("the answer has more bytes than any picture")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()

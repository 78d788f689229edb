"""The image store in Supabase Storage: a public bucket for pictures, a private one for the rest."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

from storage3.types import FileOptions

from application.ports.images import (
    ImageKeyRefusedError,
    ImageNotFoundError,
    ImageStoreUnavailableError,
    Mark,
    ObjectDiffersError,
    ObjectTooLargeError,
    SeenObject,
    SeenObjects,
)
from domain.image import ContentType
from infrastructure.image_stores.keys import KEY, checked, is_public
from infrastructure.image_stores.marks import FOLDER, mark_of, name_of
from infrastructure.image_stores.supabase_errors import AlreadyThereError
from infrastructure.image_stores.supabase_outage import Outage
from infrastructure.image_stores.supabase_removals import Removals
from infrastructure.image_stores.supabase_storage import Page, SupabaseStorage

CACHED_FOR = "3600"  # seconds: what is deleted is to be gone from caches too
YOUNG = timedelta(minutes=1)  # what is younger need not be made young
MOST_AT_ONCE = 1000
TIMES_AN_OBJECT_MAY_VANISH = 5


class SupabaseImageStore:
    """Objects in Supabase Storage: pictures in `bucket`, references and marks beside it.

    Nothing is ever replaced by other bytes. See docs/adr/0018 for how old objects are removed.
    """

    def __init__(self, *, url: str, key: str, bucket: str) -> None:
        self._pictures, self._private = bucket, f"{bucket}-references"
        self._public_url = f"{url}/storage/v1/object/public/{bucket}"
        self._storage = SupabaseStorage(
            url=url, key=key, buckets={self._pictures: True, self._private: False}
        )
        self._removals = Removals(self._storage, self._private)
        self._outage = Outage()

    async def put(self, key: str, data: bytes, content_type: ContentType) -> None:
        """Store durably; the same bytes again are no error, and make the object young again.

        Raises ImageStoreUnavailableError, ObjectDiffersError, ObjectTooLargeError,
        ImageKeyRefusedError.
        """
        await self._outage.in_time(self._put(self._bucket_of(key), key, data, content_type))

    async def get(self, key: str) -> bytes:
        """Raises ImageNotFoundError, ImageStoreUnavailableError, ImageKeyRefusedError."""
        return await self._outage.in_time(self._get(self._bucket_of(key), key))

    async def holds(self, key: str, *, sha256: str) -> bool:
        """Whether exactly these bytes can be read there, by reading them as everybody does."""
        try:
            if is_public(key):
                return (
                    await self._outage.in_time(self._storage.public_sha256(self.url(key))) == sha256
                )
            return hashlib.sha256(await self.get(key)).hexdigest() == sha256
        except ImageNotFoundError:
            return False

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; absent ones are no error."""
        by_bucket: dict[str, list[str]] = {}
        for key in keys:
            by_bucket.setdefault(self._bucket_of(key), []).append(key)
        for bucket, names in by_bucket.items():
            for first in range(0, len(names), MOST_AT_ONCE):
                await self._outage.in_time(
                    self._storage.remove(bucket, names[first : first + MOST_AT_ONCE])
                )

    async def walk(self, *, at_once: int) -> AsyncGenerator[SeenObjects]:
        """Look at every object, by the pages of the server's listing."""
        for bucket, prefix in ((self._pictures, "images/"), (self._private, "references/")):
            cursor: str | None = None
            while True:
                page = await self._outage.in_time(
                    self._storage.page(
                        bucket, prefix, limit=min(at_once, MOST_AT_ONCE), cursor=cursor
                    )
                )
                yield _seen(page)
                if (cursor := page.cursor) is None:
                    break
        yield SeenObjects((), leftovers=await self._outage.in_time(self._removals.clear_away()))

    async def forget(self, key: str, *, older_than: timedelta) -> bool:
        """Remove an object unless it was put within that time; whether it was removed."""
        return await self._outage.in_time(
            self._removals.remove(self._bucket_of(key), key, older_than=older_than)
        )

    async def marks(self) -> Sequence[Mark]:
        """Those that logs have left here, as small objects of the folder `logs`."""
        page = await self._outage.in_time(
            self._storage.page(self._private, f"{FOLDER}/", limit=MOST_AT_ONCE, cursor=None)
        )
        names = [one.name.removeprefix(f"{FOLDER}/") for one in page.objects]
        return [mark for name in names if (mark := mark_of(name))]

    async def mark(self, mark: Mark, *, instead_of: Sequence[Mark] = ()) -> None:
        """Leave a mark durably, then remove others."""
        await self._outage.in_time(
            self._create(self._private, _name(mark), b"a log's mark\n", OCTETS)
        )
        others = [_name(other) for other in instead_of if other != mark]
        if others:
            await self._outage.in_time(self._storage.remove(self._private, others))

    def url(self, key: str) -> str:
        """The permanent public URL of an image; references have none."""
        if not is_public(key):
            raise ImageKeyRefusedError
        return f"{self._public_url}/{key}"

    async def close(self) -> None:
        """Let go of the connections."""
        await self._storage.close()

    def _bucket_of(self, key: str) -> str:
        return self._pictures if is_public(checked(key)) else self._private

    async def _put(self, bucket: str, key: str, data: bytes, content_type: ContentType) -> None:
        options = FileOptions({"content-type": content_type, "cache-control": CACHED_FOR})
        for _ in range(TIMES_AN_OBJECT_MAY_VANISH):
            if await self._create(bucket, key, data, options):
                return
            if await self._is_there_to_stay(bucket, key, data, options):
                return
        raise ImageStoreUnavailableError(
            "An object vanishes as often as it is put. Look at who removes objects in the bucket."
        )

    async def _create(self, bucket: str, name: str, data: bytes, options: FileOptions) -> bool:
        """False when something lies there already, be it from a try whose answer was lost."""
        try:
            await self._storage.ask(
                lambda client: client.from_(bucket).upload(name, data, options),
                may_raise=(AlreadyThereError, ObjectTooLargeError),
            )
        except AlreadyThereError:
            return False
        return True

    async def _is_there_to_stay(
        self, bucket: str, key: str, data: bytes, options: FileOptions
    ) -> bool:
        """Make it young, then let who is about to remove it come to an end.

        False when it is gone. Raises ObjectDiffersError.
        """
        try:
            there = await self._get(bucket, key)
        except ImageNotFoundError:
            return False
        if there != data:
            raise ObjectDiffersError
        age = await self._storage.age(bucket, key)
        if age is not None and age > YOUNG:
            await self._upload_again(bucket, key, data, options)
        await self._removals.wait_for_none(key)
        return await self._storage.age(bucket, key) is not None

    async def _upload_again(self, bucket: str, key: str, data: bytes, options: FileOptions) -> None:
        """The same bytes in the place of the same bytes, for the time of it."""
        try:
            await self._storage.ask(
                lambda client: client.from_(bucket).update(key, data, options),
                may_raise=(ImageNotFoundError, ObjectTooLargeError),
            )
        except ImageNotFoundError:  # a server that makes nothing new by this, and it is gone
            return

    async def _get(self, bucket: str, key: str) -> bytes:
        return await self._storage.ask(
            lambda client: client.from_(bucket).download(key), may_raise=(ImageNotFoundError,)
        )


OCTETS = FileOptions({"content-type": "application/octet-stream", "cache-control": "0"})


def _name(mark: Mark) -> str:
    return f"{FOLDER}/{name_of(mark)}"


def _seen(page: Page) -> SeenObjects:
    return SeenObjects(
        [SeenObject(one.name, one.age) for one in page.objects if KEY.fullmatch(one.name)]
    )

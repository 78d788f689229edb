"""Removing an object only if nobody puts it again meanwhile, where nothing can be done at once.

Supabase Storage has no removal on a condition. So whoever removes an object says so first, by
another object, and looks at its age after that; whoever puts it again makes it young first, and
looks for what is said after that. Whichever was first, one of the two sees the other.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from infrastructure.image_stores.supabase_errors import AlreadyThereError
from infrastructure.image_stores.supabase_outage import PATIENCE
from infrastructure.image_stores.supabase_storage import SupabaseStorage

FOLDER = "removing/"
VOID = timedelta(minutes=2)  # by then whoever said it has removed the object, or never will
LOOK_AGAIN = 0.2  # seconds
AT_ONCE = 100


class Removals:
    """What is said about objects that are being removed, in `bucket`."""

    def __init__(self, storage: SupabaseStorage, bucket: str) -> None:
        self._storage = storage
        self._bucket = bucket

    async def remove(self, bucket: str, key: str, *, older_than: timedelta) -> bool:
        """Remove an object that is old; whether it was removed.

        When it never becomes known whether it was, or that took so long that somebody else may
        have said it anew, what was said stays until it is void.
        """
        if not await self._is_old(bucket, key, older_than) or not await self._say(key):
            return False
        said_at = time.monotonic()
        is_old = await self._is_old(bucket, key, older_than)
        if self._is_late(said_at):
            return False
        removed = is_old and await self._remove_once(bucket, key)
        if not self._is_late(said_at):
            await self._unsay([key])
        return removed

    async def wait_for_none(self, key: str) -> None:
        """Until nobody is about to remove the object, for as long as the caller waits."""
        while (age := await self._storage.age(self._bucket, FOLDER + key)) is not None:
            if age > VOID:
                await self._unsay([key])
                return
            await asyncio.sleep(LOOK_AGAIN)

    async def clear_away(self) -> int:
        """Remove what was said by removers that were killed; how much it was."""
        page = await self._storage.page(self._bucket, FOLDER, limit=AT_ONCE, cursor=None)
        void = [one.name.removeprefix(FOLDER) for one in page.objects if one.age > VOID]
        if void:
            await self._unsay(void)
        return len(void)

    async def _is_old(self, bucket: str, key: str, older_than: timedelta) -> bool:
        age = await self._storage.age(bucket, key)
        return age is not None and age > older_than

    def _is_late(self, said_at: float) -> bool:
        return time.monotonic() - said_at > PATIENCE

    async def _say(self, key: str) -> bool:
        """False when it was said before: somebody else is at it, or was killed at it."""
        try:
            await self._storage.ask(
                lambda client: client.from_(self._bucket).upload(
                    FOLDER + key,
                    b"this object is being removed\n",
                    {"content-type": "application/octet-stream", "cache-control": "0"},
                ),
                may_raise=(AlreadyThereError,),
            )
        except AlreadyThereError:
            return False
        return True

    async def _remove_once(self, bucket: str, key: str) -> bool:
        """Asked again it might remove what was put since."""
        return await self._storage.remove(bucket, [key], once=True) > 0

    async def _unsay(self, keys: list[str]) -> None:
        await self._storage.remove(self._bucket, [FOLDER + key for key in keys])

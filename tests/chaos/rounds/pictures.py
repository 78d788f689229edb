"""Whether permanent URLs serve the recorded bytes, from both apis, and deleted ones nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from domain.image import PublishedImage
from tests.chaos.rounds.facts import Facts
from tests.chaos.rounds.stack import Stack, rows


async def urls_serve_what_is_recorded(stack: Stack, facts: Facts) -> AsyncIterator[str]:
    """A sentence for every picture that is not as it should be."""
    for api in (0, 1):
        async with stack.client(api) as client:
            for id_ in facts.streams:
                generation = facts.generation(id_)
                for image in generation.published:
                    if wrong := await _wrong(client, image, is_ours=stack.others is None):
                        yield f"api-{api}: {wrong}"


async def deleted_pictures_are_gone(stack: Stack, facts: Facts) -> AsyncIterator[str]:
    """Neither served nor on the disk."""
    async with stack.client(0) as client:
        for id_ in facts.streams:
            generation = facts.generation(id_)
            for key in generation.objects if generation.deleted else ():
                if (await client.get(f"/{key}", follow_redirects=True)).is_success:
                    yield f"{key} was deleted and is served"
                if key in await _stored(stack):
                    yield f"{key} was deleted and is there"
    for id_ in facts.happened.deleted:
        if not facts.generation(id_).deleted:
            yield f"{id_} was deleted, and the log does not know it"


async def orphans(stack: Stack, facts: Facts) -> list[str]:
    """Pictures that no generation publishes: what lost calls left, which a sweep may remove."""
    published = {image.key for id_ in facts.streams for image in facts.generation(id_).published}
    spooled = [key for (key,) in await rows(stack.database_url, "SELECT key FROM spool")]
    return sorted(await _stored(stack) - published) + sorted(spooled)


async def _stored(stack: Stack) -> set[str]:
    """The keys of all pictures in the image store."""
    if stack.others:
        return stack.others.objects
    found = await asyncio.to_thread(_files, stack.running.data / "objects" / "images")
    return {f"images/{name}" for name in found}


def _files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


async def _wrong(client: httpx.AsyncClient, image: PublishedImage, *, is_ours: bool) -> str | None:
    answer = await client.get(urlsplit(image.url).path if is_ours else image.url)
    if answer.status_code != 200:
        return f"{image.url} is answered {answer.status_code}"
    if hashlib.sha256(answer.content).hexdigest() != image.sha256:
        return f"{image.url} serves other bytes than recorded"
    if len(answer.content) != image.bytes:
        return f"{image.url} serves {len(answer.content)} bytes, recorded {image.bytes}"
    return None

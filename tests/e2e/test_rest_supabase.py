"""The REST API over pictures and references that lie at Supabase."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from application.orphans import A_DAY
from domain.image import image_key, reference_key
from infrastructure.settings import load_settings
from interfaces.rest.carried import MOST_OF_A_USER
from tests.e2e.stack import Stack, encoded, running, settings_for
from tests.image_stores import BUCKET, REFERENCES
from tests.processes import eventually
from tests.servers.protocol import serving
from tests.servers.supabase import KEY, SupabaseServer

URL = "/api/v1/generations"
IMAGE = encoded("JPEG")
REFERENCE = base64.b64encode(IMAGE).decode()


@pytest.fixture
def supabase() -> SupabaseServer:
    return SupabaseServer()


@pytest.fixture
async def stack(
    supabase: SupabaseServer, tmp_path: Path, database_url: str, redis_url: str
) -> AsyncIterator[Stack]:
    async with serving(supabase) as url:
        told = {"DARKROOM_IMAGE_STORE": "supabase", "SUPABASE_URL": url, "SUPABASE_KEY": KEY}
        settings = settings_for(tmp_path, database_url, redis_url, daily_quota="9")
        async with running(load_settings(settings.environ() | told)) as started:
            yield started


def pictures(supabase: SupabaseServer) -> set[str]:
    return set(supabase.buckets[BUCKET].objects)


def references(supabase: SupabaseServer) -> set[str]:
    objects = supabase.buckets[REFERENCES].objects
    return {name for name in objects if name.startswith("references/")}


async def shown(stack: Stack, generation: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = (await stack.client.get(generation["links"]["self"])).json()
    return answer


async def completed(stack: Stack, **fields: Any) -> dict[str, Any]:
    generation = await stack.generate(**fields)
    await stack.perform_all()
    done = await shown(stack, generation)
    assert done["status"] == "completed", done
    return done


async def test_whoever_has_the_url_sees_the_picture_at_supabase(
    stack: Stack, supabase: SupabaseServer
) -> None:
    done = await completed(stack, count=2)
    async with httpx.AsyncClient() as stranger:
        for image in done["images"]:
            answer = await stranger.get(image["url"])
            assert sha256(answer.content).hexdigest() == image["sha256"]
            assert answer.headers["content-type"] == image["contentType"]
            path = "/images/" + image["url"].partition("/images/")[2]
            led = await stranger.get(stack.settings.public_url + path)
            assert (led.status_code, led.headers["location"]) == (307, image["url"])
    assert len(pictures(supabase)) == 2
    assert len(supabase.uploads(BUCKET)) == 2


async def test_what_is_no_picture_leads_nowhere(stack: Stack) -> None:
    for path in ("/images/x/y.svg", "/images//secret.png", f"/images/{uuid4()}/%00.png"):
        answer = await stack.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), path


async def test_a_reference_is_carried_to_its_owner_alone(
    stack: Stack, supabase: SupabaseServer
) -> None:
    done = await completed(stack, referenceImages=[REFERENCE])
    url = done["referenceImages"][0]["url"]
    whole = await stack.client.get(url)
    etag = whole.headers["etag"]
    asked = len(supabase.switches.seen)
    known = await stack.client.get(url, headers={"If-None-Match": etag})
    assert len(supabase.switches.seen) == asked, "who has it asks nobody for it"
    part = await stack.client.get(url, headers={"Range": "bytes=2-5"})
    end = await stack.client.get(url, headers={"Range": "bytes=-4"})
    behind = await stack.client.get(url, headers={"Range": f"bytes={len(IMAGE)}-"})
    head = await stack.client.head(url)
    async with httpx.AsyncClient(base_url=stack.settings.public_url) as stranger:
        assert (await stranger.get(url)).status_code == 401
    assert (whole.content, whole.headers["content-type"]) == (IMAGE, "image/jpeg")
    assert etag == f'"{sha256(IMAGE).hexdigest()}"'
    assert whole.headers["cache-control"].startswith("private")
    assert (known.status_code, known.content) == (304, b"")
    assert (part.status_code, part.content) == (206, IMAGE[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(IMAGE)}"
    assert end.content == IMAGE[-4:]
    assert (behind.status_code, behind.json()["code"]) == (416, "range-not-satisfiable")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(IMAGE)))


async def test_what_is_not_ones_own_reference_is_not_found(stack: Stack) -> None:
    done = await completed(stack, referenceImages=[REFERENCE])
    mine = done["referenceImages"][0]["url"]
    theirs = reference_key(uuid4(), sha256(IMAGE).hexdigest(), "image/jpeg")
    await stack.container.image_store().put(theirs, IMAGE, "image/jpeg")
    owner = mine.rpartition("/")[0]
    for url in (f"/{theirs}", f"{owner}/{'0' * 64}.png", f"{owner}/x.svg", f"{owner}/.png"):
        assert (await stack.client.get(url)).status_code == 404, url


async def test_only_so_many_references_are_held_at_once(
    stack: Stack, supabase: SupabaseServer
) -> None:
    done = await completed(stack, referenceImages=[REFERENCE])
    url = done["referenceImages"][0]["url"]
    may_go, waiting = asyncio.Event(), 0

    async def hold(request: str) -> None:
        nonlocal waiting
        if request.startswith("GET"):
            waiting += 1
            await may_go.wait()

    async def all_wait() -> bool:
        return waiting == MOST_OF_A_USER

    supabase.before = hold
    asking = [asyncio.create_task(stack.client.get(url)) for _ in range(MOST_OF_A_USER)]
    await eventually(all_wait, why="they are not asked for")
    refused = await stack.client.get(url)
    may_go.set()
    carried = [(await one).content for one in asking]
    again = await stack.client.get(url)
    assert (refused.status_code, refused.json()["code"]) == (503, "temporary-reduced-capacity")
    assert carried == [IMAGE] * MOST_OF_A_USER
    assert again.content == IMAGE


async def test_without_supabase_references_come_back_later(
    stack: Stack, supabase: SupabaseServer
) -> None:
    done = await completed(stack, referenceImages=[REFERENCE])
    supabase.switches.tell(always="refuse")
    read = await stack.client.get(done["referenceImages"][0]["url"])
    sent = await stack.client.post(URL, json={"prompt": "a fox", "referenceImages": [REFERENCE]})
    ready = (await stack.client.get("/readyz")).json()
    supabase.switches.tell(always=None)
    for answer in (read, sent):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert "Supabase Storage does not answer" in answer.json()["detail"]
    assert ready["checks"]["imageStore"]["state"] == "degraded"
    assert (await completed(stack, referenceImages=[REFERENCE]))["status"] == "completed"


async def test_a_reference_that_supabase_takes_in_no_case_is_refused(
    stack: Stack, supabase: SupabaseServer
) -> None:
    supabase.switches.options["file_size_limit"] = len(IMAGE) - 1
    sent = await stack.client.post(URL, json={"prompt": "a fox", "referenceImages": [REFERENCE]})
    assert (sent.status_code, sent.json()["code"]) == (413, "body-too-large")


async def test_deleting_a_generation_deletes_its_objects(
    stack: Stack, supabase: SupabaseServer
) -> None:
    kept, done = await completed(stack), await completed(stack, count=2)
    assert len(pictures(supabase)) == 3
    assert (await stack.client.delete(f"{URL}/{done['id']}")).status_code == 200
    assert {name.split("/")[1] for name in pictures(supabase)} == {kept["id"]}


async def test_what_supabase_could_not_delete_a_worker_does_later(
    stack: Stack, supabase: SupabaseServer
) -> None:
    done = await completed(stack)
    supabase.switches.tell(always="refuse")
    assert (await stack.client.delete(f"{URL}/{done['id']}")).status_code == 200
    supabase.switches.tell(always=None)
    assert len(pictures(supabase)) == 1
    async with stack.at_work():

        async def gone() -> bool:
            return pictures(supabase) == set()

        await eventually(gone, why="nobody erases it")


async def walk(stack: Stack) -> None:
    (orphans,) = [s for s in stack.container.sweeps() if s.name == "orphaned files"]
    while not await orphans.round():
        pass


async def test_orphans_go_and_what_is_somebodys_stays(
    stack: Stack, supabase: SupabaseServer
) -> None:
    async with stack.followed():
        done = await completed(stack, referenceImages=[REFERENCE])
        named, published = references(supabase), pictures(supabase)
        refused = encoded("PNG", (9, 9))
        store = stack.container.image_store()
        digest = sha256(refused).hexdigest()
        of_nothing = image_key(uuid4(), 1, digest, "image/png")
        unused = image_key(done["id"], 9, digest, "image/png")
        unnamed = reference_key(uuid4(), digest, "image/png")
        for key in (of_nothing, unused, unnamed):
            await store.put(key, refused, "image/png")
        await walk(stack)
        assert pictures(supabase) == {*published, of_nothing}
        assert references(supabase) == {*named, unnamed}
        await stack.rows("UPDATE log SET started_at = started_at - interval '3 d'")
        supabase.let_it_age(days=2 * A_DAY.days)

        async def in_history() -> bool:
            return bool(await stack.rows("SELECT FROM image_generations"))

        await eventually(in_history, why="the follower has it within the hour")
        await walk(stack)
    assert pictures(supabase) == published
    assert references(supabase) == named


async def test_no_log_line_has_the_key_or_an_address_of_an_object(
    stack: Stack, supabase: SupabaseServer, lines: io.StringIO
) -> None:
    supabase.switches.tell(chances={"forbidden": 0.3, "internal": 0.3, "drop": 0.2})
    for _ in range(3):
        await stack.generate()
        await stack.perform_all()
    said = lines.getvalue()
    assert "a picture goes to the spool" in said or "cannot be read yet" in said
    assert KEY not in said
    assert "row-level" not in said

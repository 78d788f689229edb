"""However many ask at once, one process holds so much and no more, and says so."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from infrastructure.event_store.follower_tables import ensure_tables
from interfaces.rest.body_budget import MOST_BYTES_IN_FLIGHT
from interfaces.rest.serve import _connection_within
from tests.e2e.stack import encoded, free_port, running, settings_for
from tests.e2e.test_rest_memory import is_ready, peak
from tests.processes import ADMIN_KEY, Process, eventually, processes
from tests.small_disk import only_root, small_disk

URL = "/api/v1/generations"
MEBIBYTE = 2**20
LARGE = 30 * MEBIBYTE
FIT = MOST_BYTES_IN_FLIGHT // LARGE
MOST_COPIES = 2.5  # of a body, while it is read, taken apart and decoded
Answer = tuple[int, dict[str, str], dict[str, object]]
FORM = "multipart/form-data; boundary=b"


@asynccontextmanager
async def an_api(
    folder: Path, database_url: str, redis_url: str, **settings: str
) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """A real process and its client."""
    await ensure_tables(database_url)
    port = free_port()
    with processes(
        folder,
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        DARKROOM_ADMIN_KEY=ADMIN_KEY,
        DARKROOM_PORT=str(port),
        **settings,
    ) as started:
        process = started.start("api")
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=60,
        ) as client:
            await eventually(lambda: is_ready(client), why=process.log.read_text()[-2000:])
            yield process, client


class Upload:
    """A body that is announced, and sent as far as the test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._answer: asyncio.Task[Answer] | None = None

    @classmethod
    async def begin(cls, client: httpx.AsyncClient, size: int, content_type: str) -> Upload:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        head = (
            f"POST {URL} HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer {ADMIN_KEY}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {size}\r\n\r\n"
        )
        writer.write(head.encode())
        return cls(reader, writer)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def try_to_send(self, data: bytes) -> None:
        """As much of it as is taken until there is an answer."""
        sending = asyncio.create_task(self.send(data))
        self._answer = asyncio.create_task(self._read())
        try:
            await asyncio.wait({sending, self._answer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            await asyncio.wait({sending})
        if not sending.cancelled() and not isinstance(sending.exception(), ConnectionError):
            await sending

    async def answer(self) -> Answer:
        return await (self._answer or self._read())

    async def _read(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self._reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, json.loads(body)

    def leave(self) -> None:
        self._writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("content_type", ["application/json", FORM])
async def test_of_many_slow_uploads_the_last_are_refused_and_memory_stays_flat(
    content_type: str, tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with an_api(tmp_path, database_url, redis_url) as (process, client):
        before = peak(process)
        part = b'--b\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\n'
        begun = part if content_type == FORM else b'{"prompt": "'
        slow = [await Upload.begin(client, LARGE, content_type) for _ in range(FIT)]
        for upload in slow:
            await upload.send(begun + b"A" * (LARGE - MEBIBYTE))

        refused = []
        for _ in range(20):
            refused.append(await Upload.begin(client, LARGE, content_type))
            await refused[-1].try_to_send(begun + b"A" * (LARGE - MEBIBYTE))
        answers = [await upload.answer() for upload in refused]
        small = await client.post(URL, json={"prompt": "a"}, headers={"Prefer": "respond-async"})
        held = peak(process) - before
        for upload in (*slow, *refused):
            upload.leave()

        async def there_is_room() -> bool:
            upload = await Upload.begin(client, LARGE, content_type)
            await upload.try_to_send(begun + b"A" * (LARGE - len(begun)))
            status, _, _ = await upload.answer()
            upload.leave()
            return status != 503

        await eventually(there_is_room)
    assert {status for status, _, _ in answers} == {503}
    assert {body["code"] for _, _, body in answers} == {"temporary-reduced-capacity"}
    assert all(int(headers["retry-after"]) > 0 for _, headers, _ in answers)
    assert small.status_code == 202, "what is small is taken all the same"
    assert held < 1.25 * MOST_BYTES_IN_FLIGHT


async def test_uploads_that_are_only_announced_keep_nobody_out(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with an_api(tmp_path, database_url, redis_url) as (_, client):
        silent = [await Upload.begin(client, LARGE, FORM) for _ in range(3 * FIT)]
        for upload in silent:
            await upload.send(b"--b")
        await asyncio.gather(*(is_ready(client) for _ in range(10)))  # the heads were read
        picture = encoded("PNG", (300, 300), compress_level=0)
        answer = await client.post(
            URL,
            data={"prompt": "a"},
            files=[("referenceImages", ("a.png", picture))],
            headers={"Prefer": "respond-async"},
        )
        for upload in silent:
            upload.leave()
    assert answer.status_code == 202


async def test_a_body_of_unknown_size_is_refused_when_it_outgrows_what_is_left(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    part = b"--b\r\nContent-Disposition: form-data; name=x; filename=x\r\n\r\n"
    async with an_api(tmp_path, database_url, redis_url) as (_, client):
        slow = [await Upload.begin(client, LARGE, FORM) for _ in range(FIT)]
        for upload in slow:
            await upload.send(part + bytes(LARGE - MEBIBYTE))

        async def endless() -> AsyncIterator[bytes]:
            yield part
            for _ in range(31):
                yield bytes(MEBIBYTE)

        answer = await client.post(URL, content=endless(), headers={"Content-Type": FORM})
        for upload in slow:
            upload.leave()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


@pytest.mark.slow
async def test_what_was_sent_is_not_kept_while_its_caller_waits(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    picture = encoded("PNG", (2300, 2300), compress_level=0)
    request = {"prompt": "a", "referenceImages": [base64.b64encode(picture).decode()]}
    async with an_api(tmp_path, database_url, redis_url, DARKROOM_WAIT_SECONDS="600") as (
        process,
        client,
    ):
        body = json.dumps(request).encode()
        headers = {"Content-Type": "application/json"}
        waiting = []
        for number in range(1, 17):
            if number == 3:  # taking two apart, one behind the other, is the most it ever needs
                before = peak(process)
            waiting.append(asyncio.create_task(client.post(URL, content=body, headers=headers)))

            async def accepted(number: int = number) -> bool:
                return await placed(database_url) >= number

            await eventually(accepted)
        held = peak(process) - before
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert len(body) * len(waiting) > 2 * MOST_BYTES_IN_FLIGHT
    assert held < 4 * len(body), "nothing of the other 14 who wait"


async def placed(database_url: str) -> int:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM work")).fetchone()
        assert row is not None
        return int(row[0])


async def test_too_many_connections_are_refused_and_those_there_are_go_on(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url)
    async with running(settings, connection=_connection_within(256 + 3)) as stack:
        assert (await stack.client.get("/livez")).status_code == 200
        others = [await asyncio.open_connection("127.0.0.1", settings.port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", settings.port)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert (await stack.client.get("/livez")).status_code == 200
        others[0][1].close()

        async def another_gets_in() -> bool:
            async with httpx.AsyncClient(base_url=stack.settings.public_url) as client:
                return (await client.get("/livez")).status_code == 200

        await eventually(another_gets_in)
        others[1][1].close()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 2" in head
    assert json.loads(body)["code"] == "temporary-reduced-capacity"


@only_root
async def test_an_upload_that_finds_the_temporary_folder_full_is_told_to_come_back(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    with small_disk(tmp_path / "tmp", "1m") as folder:
        async with an_api(tmp_path, database_url, redis_url, TMPDIR=str(folder)) as (_, client):
            files = [("referenceImages", ("a.png", bytes(8 * MEBIBYTE)))]
            answer = await client.post(URL, data={"prompt": "a"}, files=files)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "2")
    assert "temporary folder is full" in answer.json()["detail"]

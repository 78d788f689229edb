"""Webhooks of the real processes: api, worker and projector, one of which is killed as it sends."""

from __future__ import annotations

import json

import httpx
from redis.asyncio import Redis

from tests.e2e.stack import free_port
from tests.processes import ADMIN_KEY, Process, Processes, eventually
from tests.servers.receiver import HANG, Message, Receiver

SECRET_KEY = "a-secret-key-for-tests"
MARK = "an unrepeatable wish"


async def test_a_killed_worker_and_its_successor_tell_everybody(one_service: Processes) -> None:
    port = free_port()
    one_service.environment |= {
        "DARKROOM_PORT": str(port),
        "DARKROOM_WEBHOOK_NETWORKS": "127.0.0.0/8",
    }
    keyless = one_service.start("worker")
    await eventually(lambda: _says(keyless, "leaves webhooks to others"))
    one_service.environment["DARKROOM_SECRET_KEY"] = SECRET_KEY
    for name in ("api", "projector"):
        one_service.start(name)
    worker = one_service.start("worker")

    def kill(_: Message) -> bytes:
        worker.kill()
        return HANG

    hooked, named = Receiver(answers=[kill, b"HTTP/1.1 204 So\r\n\r\n"]), Receiver()
    async with (
        hooked.up() as url,
        named.up() as elsewhere,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=30,
        ) as client,
    ):
        await eventually(lambda: _is_ready(client))
        webhook = (await client.post("/api/v1/webhooks", json={"url": url})).json()
        own = (await client.get("/api/v1/me/webhook-secret")).json()["secret"]
        wish = {"prompt": MARK, "size": "64x64", "webhookUrl": elsewhere}
        generation = (await client.post("/api/v1/generations", json=wish)).json()
        await hooked.has(1)
        async with Redis.from_url(one_service.environment["REDIS_URL"]) as redis:
            await redis.flushall()  # nobody holds back for 20 s what the dead one began
        one_service.start("worker")
        killed, again = await hooked.has(2)
        (once, *_) = await named.has(1)
    assert killed.id == again.id
    for message, secret in ((again, webhook["secret"]), (once, own)):
        told = message.verified(secret)
        assert told["type"] == "image.generation.completed"
        assert told["data"]["imageUrl"] == generation["imageUrl"]
    secrets = {webhook["secret"], own, SECRET_KEY, MARK, "/hooks", url}
    assert not await _says(keyless, "this worker announces")
    for process in one_service.started:
        assert not [secret for secret in secrets if secret in process.log.read_text()]


async def _says(process: Process, sentence: str) -> bool:
    return sentence in process.log.read_text()


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        answer = await client.get("/readyz")
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and json.loads(answer.content)["status"] == "ready"

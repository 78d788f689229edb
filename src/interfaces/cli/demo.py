"""`darkroom demo`: a throw-away stack does the main job, for real, and every claim is checked."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from infrastructure.settings import without_settings

READY_WITHIN = 30.0
FINISHED_WITHIN = 30.0
STOPPED_WITHIN = 20.0
LIGHTHOUSE = "a lighthouse on a cliff at dusk, the sea calm, one lamp lit"
GARDEN = "the same place in spring, seen from a garden full of poppies"
PICTURES = Path("darkroom-demo")

Json = dict[str, Any]


@dataclass
class Claims:
    """What the demo says is so; every claim is printed as it is checked."""

    console: Console
    failed: list[str] = field(default_factory=list)

    def check(self, claim: str, holds: bool) -> None:
        """Print one claim; remember it if it does not hold."""
        self.console.print(f"  [green]✓[/] {claim}" if holds else f"  [bold red]✗ {claim}[/]")
        if not holds:
            self.failed.append(claim)


async def demo(providers: Sequence[str] = ("sketch",), store: str = "filesystem") -> int:
    """Run it; 0 only if every claim held.

    Providers and image store other than the built-in ones take keys and addresses from the
    environment, and each picture costs what it costs there.
    """
    console = Console(highlight=False)
    claims = Claims(console)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="darkroom-demo-") as folder:
        try:
            async with _stack(Path(folder), console, providers, store) as api:
                await _tell(api, console, claims, providers)
        except DemoError as error:
            claims.check(str(error), holds=False)
    if claims.failed:
        console.print(f"\n[bold red]{len(claims.failed)} claims did not hold.[/]")
        return 1
    console.print(f"\n[bold]All of it was true[/], in {time.monotonic() - began:.1f} s.")
    return 0


class DemoError(Exception):
    """The demo cannot go on."""


async def _tell(
    api: httpx.AsyncClient, console: Console, claims: Claims, providers: Sequence[str]
) -> None:
    console.print("\n[bold]1. A prompt becomes a permanent URL[/]")
    made, pictures = [], []
    for provider in providers:
        request = {"prompt": LIGHTHOUSE, "provider": provider}
        lighthouse, data = await _generate(
            api, console, claims, request, name=f"lighthouse-{provider}"
        )
        made.append(lighthouse)
        pictures.append(data)
    console.print("\n[bold]2. A prompt with a reference image: the picture just made[/]")
    reference = f"data:image/png;base64,{base64.b64encode(pictures[0]).decode()}"
    garden, _ = await _generate(
        api,
        console,
        claims,
        {"prompt": GARDEN, "aspectRatio": "16:9", "count": 2, "referenceImages": [reference]},
        name="garden",
    )
    claims.check("the reference image is recorded", len(garden["referenceImages"]) == 1)
    await _show_history(api, console, claims, [garden, *reversed(made)])
    await _show_quota(api, console, claims, units=len(made) + 2)
    await _show_trail(api, console, claims, garden)


async def _generate(
    api: httpx.AsyncClient, console: Console, claims: Claims, request: Json, *, name: str
) -> tuple[Json, bytes]:
    console.print(f"  POST /api/v1/generations\n    [italic]{request['prompt']}[/]")
    answer = await api.post(
        "/api/v1/generations", json=request, headers={"Prefer": "respond-async"}
    )
    if answer.status_code != httpx.codes.ACCEPTED:
        raise DemoError(f"the request was answered {answer.status_code}: {answer.text}")
    generation = await _follow(api, console, answer.headers["Location"])
    claims.check(f"it is {generation['status']}", generation["status"] == "completed")
    console.print(f"    by {generation['provider']}, {generation['model']}: {_price(generation)}")
    recorded = await _recorded_hashes(api, generation)
    pictures = [
        await _fetch(console, claims, image, recorded, name=f"{name}-{number}")
        for number, image in enumerate(generation["images"], 1)
    ]
    claims.check(
        "imageUrl is the first picture's URL",
        bool(pictures) and generation["imageUrl"] == generation["images"][0]["url"],
    )
    return generation, pictures[0] if pictures else b""


def _price(generation: Json) -> str:
    cost = generation["cost"]
    return f"{cost['amount']} {cost['currency']}" if cost else "no cost is known"


async def _follow(api: httpx.AsyncClient, console: Console, location: str) -> Json:
    """Show each event as it is recorded, until the generation is final."""
    began, seen = time.monotonic(), 0
    while time.monotonic() - began < FINISHED_WITHIN:
        trail = await _get(api, f"{location}/events")
        for event in trail["items"][seen:]:
            console.print(f"    [cyan]{event['type']}[/] [dim]at position {event['position']}[/]")
        seen = len(trail["items"])
        generation = await _get(api, location)
        if generation["status"] not in ("queued", "processing"):
            return generation
        await asyncio.sleep(0.05)
    raise DemoError(f"the generation was not finished within {FINISHED_WITHIN:.0f} s")


async def _recorded_hashes(api: httpx.AsyncClient, generation: Json) -> dict[str, str]:
    """URL to SHA-256, as the completing event has them."""
    trail = await _get(api, f"/api/v1/generations/{generation['id']}/events")
    completed = [e for e in trail["items"] if e["type"] == "generation.completed"]
    return {image["url"]: image["sha256"] for e in completed for image in e["data"]["images"]}


async def _fetch(
    console: Console, claims: Claims, image: Json, recorded: dict[str, str], *, name: str
) -> bytes:
    async with httpx.AsyncClient() as anybody:  # a permanent URL needs no key
        answer = await anybody.get(image["url"])
    digest = hashlib.sha256(answer.content).hexdigest()
    console.print(f"    {image['url']}", soft_wrap=True)
    console.print(f"    [dim]kept as {_keep(name, answer.content)}[/]", soft_wrap=True)
    claims.check(
        f"its {len(answer.content):,} bytes have the SHA-256 of the event, {digest[:12]}…",
        answer.status_code == httpx.codes.OK and recorded.get(image["url"]) == digest,
    )
    return answer.content


def _keep(name: str, data: bytes) -> Path:
    PICTURES.mkdir(parents=True, exist_ok=True)
    place = PICTURES / f"{name}{_ending(data)}"
    place.write_bytes(data)
    return place


def _ending(data: bytes) -> str:
    return {b"\x89PNG": ".png", b"RIFF": ".webp"}.get(data[:4], ".jpg")


async def _show_history(
    api: httpx.AsyncClient, console: Console, claims: Claims, expected: list[Json]
) -> None:
    console.print("\n[bold]3. History, from the read model[/]")
    wanted = [generation["id"] for generation in expected]
    items: list[Json] = []
    for _ in range(100):
        items = (await _get(api, "/api/v1/generations"))["items"]
        if [i["id"] for i in items if i["status"] == "completed"] == wanted:
            break
        await asyncio.sleep(0.05)
    table = Table("created", "status", "images", "prompt", box=None, padding=(0, 2))
    for item in items:
        table.add_row(
            item["createdAt"][:19], item["status"], str(len(item["images"])), item["prompt"]
        )
    console.print(table)
    claims.check("it lists all of them, the newest first", [i["id"] for i in items] == wanted)


async def _show_quota(
    api: httpx.AsyncClient, console: Console, claims: Claims, *, units: int
) -> None:
    console.print("\n[bold]4. Quota[/]")
    windows = (await _get(api, "/api/v1/me/quota"))["windows"]
    table = Table("window", "limit", "used", "remaining", "resets", box=None, padding=(0, 2))
    for window in windows:
        table.add_row(
            *(str(window[name]) for name in ("type", "limit", "used", "remaining", "resetsAt"))
        )
    console.print(table)
    claims.check(
        f"{units} pictures took {units} units from each window",
        len(windows) == 2 and all(window["used"] == units for window in windows),
    )


async def _show_trail(
    api: httpx.AsyncClient, console: Console, claims: Claims, generation: Json
) -> None:
    console.print("\n[bold]5. The event trail of the last generation[/]")
    items = (await _get(api, f"/api/v1/generations/{generation['id']}/events"))["items"]
    table = Table("position", "recorded", "event", "by", box=None, padding=(0, 2))
    for item in items:
        actor = item["actor"].partition(":")[0]
        table.add_row(str(item["position"]), item["recordedAt"][11:23], item["type"], actor)
    console.print(table)
    types = [item["type"].removeprefix("generation.") for item in items]
    claims.check(
        "it begins with the request and ends with the completion",
        types[:1] == ["requested"] and types[-1:] == ["completed"],
    )
    claims.check(
        "each call was announced before it was made, and answered once",
        types.count("call_started") == types.count("call_answered") > 0,
    )
    claims.check(
        "one correlation id leads through all of it",
        len({item["correlationId"] for item in items}) == 1,
    )


async def _get(api: httpx.AsyncClient, path: str) -> Json:
    answer = await api.get(path)
    if answer.status_code != httpx.codes.OK:
        raise DemoError(f"GET {path} was answered {answer.status_code}: {answer.text}")
    body: Json = answer.json()
    return body


# --- the stack -------------------------------------------------------------------------------


@asynccontextmanager
async def _stack(
    folder: Path, console: Console, providers: Sequence[str], store: str
) -> AsyncIterator[httpx.AsyncClient]:
    """`darkroom up` in a folder of its own, stopped again at the end, whatever happened."""
    port, key = _free_port(), f"dk_admin_{secrets.token_urlsafe(32)}"
    console.print("[bold]Starting[/] PostgreSQL, Redis, api, worker and projector …")
    began = time.monotonic()
    log = folder / "up.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "interfaces.cli.main",
            "up",
            env=environment(folder, port, key, providers, store),
            stdout=output,
            stderr=output,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as api:
            await _until_ready(api, process, log)
            console.print(f"  ready at {address} after {time.monotonic() - began:.1f} s")
            yield api
    finally:
        await _stop(process, console)


def environment(
    folder: Path, port: int, key: str, providers: Sequence[str], store: str
) -> dict[str, str]:
    """Nothing of the caller's own Darkroom: the demo touches no data and no keys but its own."""
    return without_settings(os.environ, but=(*providers, store)) | {
        "DARKROOM_DATA_DIR": str(folder / "data"),
        "DARKROOM_PORT": str(port),
        "DARKROOM_ADMIN_KEY": key,
        "DARKROOM_SKETCH_SECONDS": "0.3",
        "DARKROOM_LOG_FORMAT": "json",
        "DARKROOM_PROVIDERS": ",".join(providers),
        "DARKROOM_IMAGE_STORE": store,
    }


async def _until_ready(
    api: httpx.AsyncClient, process: asyncio.subprocess.Process, log: Path
) -> None:
    give_up_at = time.monotonic() + READY_WITHIN
    while time.monotonic() < give_up_at and process.returncode is None:
        try:
            if (await api.get("/readyz")).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # not listening yet
        await asyncio.sleep(0.05)
    raise DemoError(
        f"the stack was not ready within {READY_WITHIN:.0f} s. It last said:\n{_last_lines(log)}"
    )


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


async def _stop(process: asyncio.subprocess.Process, console: Console) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOPPED_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        raise DemoError(f"the stack did not stop within {STOPPED_WITHIN:.0f} s") from None
    console.print("\nStopped; the throw-away data is gone.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

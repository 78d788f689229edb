"""schemathesis against a running service with a worker at work."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

import httpx

from tests.e2e.stack import Stack, encoded
from tests.people import new_user
from tests.processes import ADMIN_KEY

HERE = Path(__file__).parent
NOT_OURS = {
    "positive_data_acceptance": "fuzz_hooks has it, with what the business may refuse",
    "use_after_free": "DELETE lets pictures go for ever; the record stays, and says so",
}
OF_A_GENERATION = (
    "GET /api/v1/generations/{id}",
    "POST /api/v1/generations/{id}/cancel",
    "GET /api/v1/generations/{id}/events",
    "POST /api/v1/generations/{id}/retry",
    "GET /api/v1/generations/{id}/deliveries",
    "GET /api/v1/jobs/{id}",
)
OF_A_USER = (
    "GET /api/v1/admin/users/{id}",
    "PATCH /api/v1/admin/users/{id}",
    "GET /api/v1/admin/users/{id}/quota",
    "GET /api/v1/admin/users/{id}/events",
    "POST /api/v1/admin/users/{id}/keys",
    "GET /api/v1/admin/users/{id}/keys",
)
OF_A_WEBHOOK = (
    "GET /api/v1/webhooks/{id}",
    "PATCH /api/v1/webhooks/{id}",
    "POST /api/v1/webhooks/{id}/rotate-secret",
    "POST /api/v1/webhooks/{id}/test",
    "GET /api/v1/webhooks/{id}/deliveries",
)


async def fuzz(stack: Stack, folder: Path, *options: str) -> tuple[int, str]:
    """Its exit code and its report."""
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{stack.settings.public_url}/openapi.json",
        "--header",
        f"Authorization: Bearer {ADMIN_KEY}",
        "--checks=all",
        f"--exclude-checks={','.join(NOT_OURS)}",
        "--output-sanitize=false",
        "--generation-database=none",
        "--no-color",
        *options,
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={
            **os.environ,
            "PYTHONPATH": str(HERE.parents[1]),
            "SCHEMATHESIS_HOOKS": "tests.surface.fuzz_hooks",
            "FUZZ_KNOWN": json.dumps(await _known(stack)),
        },
        cwd=folder,  # it keeps what it found
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await process.communicate()
    return process.returncode or 0, report.decode()


async def _known(stack: Stack) -> dict[str, dict[str, str]]:
    """By operation, the parameters of something that is there and that nobody is told to make."""
    somebody = await new_user(stack.container.store())
    picture = base64.b64encode(encoded("PNG")).decode()
    wish = {"prompt": "a lighthouse", "size": "16x16", "referenceImages": [picture]}
    made = (await stack.client.post("/api/v1/generations", json=wish)).json()
    trail = (await stack.client.get(made["links"]["events"])).json()["items"]
    _, generation, name = httpx.URL(made["imageUrl"]).path.strip("/").split("/")
    _, user, reference = trail[0]["data"]["references"][0]["key"].split("/")
    asked = {"url": "https://shop.example/hooks"}
    webhook = (await stack.client.post("/api/v1/webhooks", json=asked)).json()["id"]
    return {
        "GET /images/{generation}/{name}": {"generation": generation, "name": name},
        "GET /references/{user}/{name}": {"user": user, "name": reference},
        "POST /api/v1/admin/providers/{name}": {"name": "sketch"},
        **{operation: {"id": generation} for operation in OF_A_GENERATION},
        **{operation: {"id": str(somebody.id)} for operation in OF_A_USER},
        **{operation: {"id": webhook} for operation in OF_A_WEBHOOK},
    }

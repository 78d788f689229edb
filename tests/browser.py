"""A real browser that reaches nothing but this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.node import MODULES

PACKED = MODULES / ".browser"
FLAGS = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def executable() -> Path:
    """The one that `make test` unpacks, else one of this machine; without either, skip."""
    if (PACKED / "chromium").exists():
        return PACKED / "chromium"
    if found := shutil.which("chromium") or shutil.which("google-chrome"):
        return Path(found)
    pytest.skip("There is no browser. Run `make test`, which brings one, or install chromium.")


@asynccontextmanager
async def opened() -> AsyncIterator[Browser]:
    """The browser until the block ends."""
    libraries = f"{PACKED / 'lib'}{os.pathsep}{os.environ.get('LD_LIBRARY_PATH', '')}"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable(),
            args=list(FLAGS),
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
        )
        yield browser
        await browser.close()

"""/docs in a real browser to which no other host exists."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, expect

from tests import browser
from tests.e2e.stack import Stack
from tests.processes import ADMIN_KEY

expect.set_options(timeout=30_000)  # milliseconds, until something shows


@dataclass
class Visit:
    """An open page, what it complained of and whom it asked."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def visit(stack: Stack) -> AsyncIterator[Visit]:
    """/docs, from when its operations are to be seen."""
    async with browser.opened() as chromium:
        visit = Visit(await chromium.new_page(viewport={"width": 1440, "height": 1000}))
        page = visit.page
        page.on("console", lambda m: visit.complaints.append(m.text) if m.type != "info" else None)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on("request", lambda request: visit.asked.append(request.url))
        await page.goto(f"{stack.settings.public_url}/docs")
        await expect(page.get_by_role("heading", name="Your first picture")).to_be_visible()
        yield visit


async def test_the_page_needs_no_other_host_and_has_nothing_to_complain_of(
    visit: Visit, stack: Stack
) -> None:
    page = visit.page
    for text in ("Generate pictures", "/api/v1/me/quota"):
        await page.get_by_text(text).first.scroll_into_view_if_needed()
        await expect(page.get_by_text(text).first).to_be_visible()
    await page.wait_for_load_state("networkidle")

    assert visit.complaints == []
    assert {urlsplit(url).netloc for url in visit.asked} == {
        urlsplit(stack.settings.public_url).netloc
    }


async def test_an_operation_can_be_tried_out_with_a_key(visit: Visit, stack: Stack) -> None:
    page = visit.page
    await page.get_by_placeholder("Token").first.fill(ADMIN_KEY)
    await page.goto(f"{stack.settings.public_url}/docs#tag/generations/POST/api/v1/generations")
    await page.get_by_role(
        "button", name="Test Request (post /api/v1/generations)", exact=True
    ).click()
    await page.get_by_role("button", name="Send post request").click()

    await expect(page.get_by_text("201 Created").first).to_be_visible()
    assert (await stack.recorded()) > 0
    assert visit.complaints == []


async def test_what_the_guide_shows_names_the_host_that_serves_it(
    visit: Visit, stack: Stack
) -> None:
    body = visit.page.locator("body")

    await expect(body).to_contain_text(f"curl -s {stack.settings.public_url}/api/v1/generations")
    assert "127.0.0.1:8000" not in await body.inner_text()


async def test_the_page_may_load_scripts_from_here_only(stack: Stack) -> None:
    answer = await stack.client.get("/docs")

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; connect-src 'self'" in policy
    assert "http" not in policy


async def test_the_reference_is_sent_compressed_to_who_can_read_that(stack: Stack) -> None:
    url = "/docs/scalar-1.72.1.js"
    packed = await stack.client.get(url, headers={"Accept-Encoding": "gzip"})
    plain = await stack.client.get(url, headers={"Accept-Encoding": "identity"})

    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert len(gzip.compress(plain.content)) < 2_000_000

"""The page /docs: a guide and a reference to try out, with nothing from another host."""

from __future__ import annotations

import asyncio
import gzip
from functools import cache
from hashlib import sha256
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

# Scalar's API reference as its authors publish it; page/README.md tells how to renew it.
SCALAR = "scalar-1.72.1.js"
JAVASCRIPT = "text/javascript"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Scalar styles its elements while it draws them
        "img-src 'self' data: blob:",  # the pictures that were tried out
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

router = APIRouter(include_in_schema=False)


@router.get("/")
async def root() -> Response:
    """Whoever opens the bare address is told how to use it."""
    return RedirectResponse("/docs")


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The page itself; everything else that it loads, it loads by name from below."""
    return _small(request, "docs.html", "text/html", {"Content-Security-Policy": POLICY})


@router.get("/docs/docs.js")
async def script(request: Request) -> Response:
    """Starts the reference."""
    return _small(request, "docs.js", JAVASCRIPT)


@router.get("/docs/icon.svg")
async def icon(request: Request) -> Response:
    """What a browser shows on its tab."""
    return _small(request, "icon.svg", "image/svg+xml")


@router.get(f"/docs/{SCALAR}")
async def scalar(request: Request) -> Response:
    """The reference; its name carries its version. It is kept compressed, and sent so."""
    body = _read(f"{SCALAR}.gz")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = await asyncio.to_thread(gzip.decompress, body)
    return Response(body, headers=headers, media_type=JAVASCRIPT)


def _small(
    request: Request, name: str, media_type: str, headers: dict[str, str] | None = None
) -> Response:
    body = _read(name)
    etag = f'"{sha256(body).hexdigest()[:16]}"'
    headers = {"Cache-Control": "no-cache", "ETag": etag, **(headers or {})}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)


@cache
def _read(name: str) -> bytes:
    return (files("interfaces.rest") / "page" / name).read_bytes()

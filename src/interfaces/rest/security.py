"""What every answer tells browsers not to do with it, and which other sites' pages may ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

Header = tuple[bytes, bytes]
Around = Callable[[ASGIApp], ASGIApp]

NO_PAGE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PLAIN_PAGE = f"{NO_PAGE}; style-src 'unsafe-inline'"
PICTURE = f"{PLAIN_PAGE}; sandbox"  # what browsers show a picture by, and nothing runs in it
FOR_ALL_SITES = {"Cross-Origin-Resource-Policy": "cross-origin"}

SECURITY_HEADERS: Sequence[Header] = (
    (b"content-security-policy", NO_PAGE.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""Of an answer that says nothing else."""
ONLY_OVER_TLS: Header = (b"strict-transport-security", b"max-age=31536000")

EXPOSED = (
    *("Location", "Link", "ETag", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"),
    *("Idempotent-Replayed", "Preference-Applied", "Deprecation", "Sunset", "Content-Range"),
    *("WWW-Authenticate", "X-Darkroom-Generation", "X-Should-Retry"),
)
"""What pages of other sites may read, beside the few headers that they always may."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def security_headers(public_url: str) -> Sequence[Header]:
    """Those of a service that is reached there."""
    over_tls = (ONLY_OVER_TLS,) if public_url.startswith("https://") else ()
    return (*SECURITY_HEADERS, *over_tls)


def for_no_page(app: ASGIApp) -> ASGIApp:
    """Say nothing to other sites' pages, which browsers take for a no."""
    return app


def for_pages_of(origins: Sequence[str]) -> Around:
    """Let pages of these origins ask, with API keys: browsers send them no cookies of ours."""
    if not origins:
        return for_no_page
    return lambda app: CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=("*",),
        expose_headers=EXPOSED,
    )

"""What changes something refuses other sites' pages: they can make a browser send its cookie."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request

from application.access import Caller
from interfaces.rest.context import container_of
from interfaces.rest.errors import OtherSiteError

CHANGES_NOTHING = ("GET", "HEAD", "OPTIONS")


def refuse_other_sites(request: Request, caller: Caller) -> None:
    """Raises OtherSiteError, unless the browser says that a page of this service asks.

    Every browser of today says so by Sec-Fetch-Site (W3C Fetch Metadata), older ones by Origin.
    Who shows a key is no browser that was tricked.
    """
    if caller.session_id is None or request.method in CHANGES_NOTHING:
        return
    if "sec-fetch-site" not in request.headers and "origin" not in request.headers:
        raise OtherSiteError
    refuse_pages_of_others(request)


def refuse_pages_of_others(request: Request) -> None:
    """Raises OtherSiteError if the browser says that another site's page asks.

    Whoever says nothing is no browser: that is enough where no session is shown.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise OtherSiteError
    if site is None and origin is not None and origin != _own_origin(request):
        raise OtherSiteError


def _own_origin(request: Request) -> str:
    """As browsers write it: in lower case, without a port that is usual."""
    url = urlsplit(container_of(request).settings().public_url)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    is_usual = url.port in (None, {"http": 80, "https": 443}[url.scheme])
    return f"{url.scheme}://{host}" if is_usual else f"{url.scheme}://{host}:{url.port}"

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
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise OtherSiteError
    origin = request.headers.get("origin")
    if origin is not None and origin not in _own_origins(request):
        raise OtherSiteError


def _own_origins(request: Request) -> set[str]:
    url = urlsplit(container_of(request).settings().public_url)
    return {f"{url.scheme}://{url.netloc}"}

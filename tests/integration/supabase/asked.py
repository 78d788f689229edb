"""What the server that speaks for Supabase is asked, and was asked."""

from __future__ import annotations

from tests.servers.supabase import SupabaseServer

UPLOADS = "POST /storage/v1/object/darkroom/.*"


def asked(server: SupabaseServer, request: str) -> int:
    """How many requests began so, as `METHOD /path`."""
    return sum(noted.request.startswith(request) for noted in server.switches.seen)

"""A picture for the store at Supabase, and what its server was asked."""

from __future__ import annotations

from hashlib import sha256
from uuid import uuid4

from domain.image import image_key
from tests.fakes_images import small_png
from tests.servers.supabase import SupabaseServer

DATA = small_png("a picture")
HASH = sha256(DATA).hexdigest()
UPLOADS = "POST /storage/v1/object/darkroom/.*"


def new_key() -> str:
    return image_key(uuid4(), 1, HASH, "image/png")


def asked(server: SupabaseServer, request: str) -> int:
    """How many requests began so, as `METHOD /path`."""
    seen = [f"{noted.method} {noted.path}" for noted in server.switches.seen]
    return sum(one.startswith(request) for one in seen)

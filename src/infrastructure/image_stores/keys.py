"""Under which keys objects lie, the same in every image store."""

from __future__ import annotations

import re

from application.ports.images import ImageKeyRefusedError

KEY = re.compile(r"(images|references)/[A-Za-z0-9-]{1,64}/[A-Za-z0-9-]{1,128}\.(png|jpg|webp)")


def checked(key: str) -> str:
    """The key, if it is one. Raises ImageKeyRefusedError."""
    if not KEY.fullmatch(key):
        raise ImageKeyRefusedError
    return key


def is_public(key: str) -> bool:
    """Whether everybody who has its URL may see the object."""
    return checked(key).startswith("images/")

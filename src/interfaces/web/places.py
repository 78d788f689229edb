"""Where a browser may be sent after a login: to an address of this service, and nowhere else."""

from __future__ import annotations

import re
from urllib.parse import unquote

ACCOUNT = "/auth"  # the page about who is logged in
LONGEST = 500  # characters

_ADDRESS = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?#-]*")
_HARMFUL = re.compile(r"//|\\|/\.{1,2}(/|$)")
MOST_DECODINGS = 3  # of whatever lies between us and the browser


def place(asked: str | None) -> str:
    """Where to go on, if it is an address here; else the page about who is logged in."""
    return asked if asked and _is_here(asked) else ACCOUNT


def _is_here(asked: str) -> bool:
    if len(asked) > LONGEST or not _ADDRESS.fullmatch(asked):
        return False
    path = re.split(r"[?#]", asked, maxsplit=1)[0]
    for _ in range(MOST_DECODINGS):
        if _HARMFUL.search(path) or not path.isprintable():
            return False
        decoded = unquote(path)
        if decoded == path:
            return not path.startswith(f"{ACCOUNT}/")  # those lead in circles
        path = decoded
    return False

"""Times as clients write them: RFC 3339, with an offset."""

from __future__ import annotations

import re

from pydantic import BeforeValidator

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def _written_well(text: object) -> object:
    if isinstance(text, str) and not _RFC_3339.fullmatch(text):
        raise ValueError("must be a time such as 2026-11-24T08:30:00Z (a + in a URL is %2B)")
    return text


rfc_3339 = BeforeValidator(_written_well)

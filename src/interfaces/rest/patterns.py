"""What a text has to look like, told twice: to who reads the OpenAPI document, and to us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema

# Regular expressions that mean the same in Python, in Rust and in JSON Schema (ECMA-262).
UNSEEN = r"\s\u0000-\u001f\u007f-\u00a0\u00ad\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ufeff"
STORABLE = r"^[^\u0000]*$"
SAYS_SOMETHING = rf"^[^\u0000]*[^{UNSEEN}][^\u0000]*$"

SIDE = r"(1[6-9]|[2-9][0-9]|[1-9][0-9]{2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-6])"
SIZE = rf"^{SIDE}x{SIDE}$"

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_RECEIVER = rf'://{_LABEL}(\.{_LABEL}){{0,30}}(:{_PORT})?([/?][!"$-~]*)?$'
RECEIVER = rf"^https{_RECEIVER}"  # a name without a user, and no fragment
RECEIVER_ANYHOW = rf"^https?{_RECEIVER}"  # where private networks are allowed

# Bare, or a structured string (RFC 8941); headers.py reads it.
IDEMPOTENCY_KEY = r'^[!#-+\--\[\]-~]{1,255}$|^"([ !#-\[\]-~]|\\["\\]){1,255}"$'


@dataclass(frozen=True)
class Told:
    """Makes a pattern part of the JSON schema; a validator beside it says what is wrong."""

    pattern: str

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(core_schema), "pattern": self.pattern}

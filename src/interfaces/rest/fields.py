"""Kinds of fields of a request: what they hold, told alike to us and in the JSON schema."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic.config import JsonDict

from interfaces.rest.patterns import (
    RECEIVER,
    RECEIVER_ANYHOW,
    SAYS_SOMETHING,
    SIZE,
    STORABLE,
    UNSEEN,
    Told,
)

MOST_REFERENCES = 16
MOST_IMAGES = 10
MOST_PLACES = 100
SHORTEST_SIDE, LONGEST_SIDE = 16, 4096
MOST_METADATA, LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE = 50, 40, 500
LONGEST_PROMPT = 32_000
LONGEST_END_USER = 256
LONGEST_DEADLINE = 86_400  # seconds
LONGEST_URL = 2000

TWO_NUMBERS = r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$"
ASPECT_RATIO = r"^[1-9][0-9]{0,3}:[1-9][0-9]{0,3}$"

_SEEN = re.compile(f"[^{UNSEEN}]")


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode: it contains a lone surrogate") from None
    return text


def _not_blank(text: str) -> str:
    if not _SEEN.search(text):
        raise ValueError("must say something: it is empty or blank")
    return text


def _receiver(url: str) -> str:
    if not re.fullmatch(RECEIVER_ANYHOW, url):
        raise ValueError(
            "must be an address such as https://shop.example/hooks, without user, password and"
            " fragment"
        )
    return url


def _sane_size(size: str) -> str:
    sides = [int(side) for side in size.split("x")]
    if not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in sides):
        raise ValueError(f"must have sides of {SHORTEST_SIDE} to {LONGEST_SIDE} pixels")
    return size


def whole(number: object) -> object:
    """To JSON 2.0 is the same number as 2."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Text = Annotated[str, AfterValidator(_storable), Told(STORABLE)]
Prompt = Annotated[
    Text,
    Field(min_length=1, max_length=LONGEST_PROMPT),
    AfterValidator(_not_blank),
    Told(SAYS_SOMETHING),
]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=100)]
EndUser = Annotated[Text, StringConstraints(min_length=1, max_length=LONGEST_END_USER)]
ReceiverUrl = Annotated[
    str, StringConstraints(max_length=LONGEST_URL), AfterValidator(_receiver), Told(RECEIVER)
]
Size = Annotated[
    str, StringConstraints(pattern=TWO_NUMBERS), AfterValidator(_sane_size), Told(SIZE)
]
AspectRatio = Annotated[str, StringConstraints(pattern=ASPECT_RATIO)]
Count = Annotated[int, Field(ge=1, le=MOST_IMAGES), BeforeValidator(whole)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(whole)]
Compression = Annotated[int, Field(ge=0, le=100), BeforeValidator(whole)]
Place = Annotated[int, Field(ge=1, le=MOST_PLACES), BeforeValidator(whole)]
Seconds = Annotated[int, Field(ge=1, le=LONGEST_DEADLINE), BeforeValidator(whole)]
MetadataKey = Annotated[
    str,
    AfterValidator(_storable),
    StringConstraints(min_length=1, max_length=LONGEST_METADATA_KEY),
]
MetadataValue = Annotated[Text, StringConstraints(max_length=LONGEST_METADATA_VALUE)]

_STORABLE: JsonDict = {"pattern": STORABLE}
ONE_SHAPE: JsonDict = {
    "if": {"required": ["size"], "properties": {"size": {"type": "string"}}},
    "then": {"properties": {"aspectRatio": {"type": "null"}}},
}


def keys_are_storable(schema: JsonDict) -> None:
    """Where the key's type had a pattern, pydantic would take it for one kind of key of several."""
    schema["propertyNames"] = {"maxLength": LONGEST_METADATA_KEY, "minLength": 1, **_STORABLE}

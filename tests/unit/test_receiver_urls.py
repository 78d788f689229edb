"""Which addresses a webhook may have: told alike to us and to who reads the OpenAPI document."""

from __future__ import annotations

import pytest
from jsonschema_rs import validator_for
from pydantic import TypeAdapter, ValidationError

from interfaces.rest.fields import LONGEST_URL, ReceiverUrl

ADDRESS = TypeAdapter(ReceiverUrl)
DOCUMENT = validator_for(ADDRESS.json_schema())
GOOD = [
    "https://shop.example",
    "https://shop.example/",
    "https://shop.example:8443/hooks?token=a%20b&c=d@e",
    "https://shop.example?token",
    "https://SHOP.example/a;b",
    "https://xn--bcher-kva.example/hooks",
    "https://93.184.216.34/hooks",
    "https://localhost:65535/",
    f"https://shop.example/{'x' * (LONGEST_URL - len('https://shop.example/'))}",
]
BAD = [
    "",
    "shop.example/hooks",
    "//shop.example/hooks",
    "ftp://shop.example/",
    "HTTPS://shop.example/",
    "https://user@shop.example/",
    "https://user:word@shop.example/",
    "https://shop.example/#part",
    "https:///hooks",
    "https://shop.example:0/",
    "https://shop.example:65536/",
    "https://shop.example:/",
    "https://shop..example/",
    "https://-shop.example/",
    "https://shop.example/a b",
    "https://shop.example/hooks\n",
    "https://bücher.example/",
    "https://[::1]/",
    "https://shop.example\\@inside/",
    f"https://{'x' * 64}.example/",
    f"https://shop.example/{'x' * LONGEST_URL}",
]


@pytest.mark.parametrize("url", GOOD)
def test_an_address_is_taken(url: str) -> None:
    assert ADDRESS.validate_python(url) == url
    assert DOCUMENT.is_valid(url)


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        ADDRESS.validate_python(url)
    assert not DOCUMENT.is_valid(url)


def test_plain_http_is_for_the_business_to_decide() -> None:
    plain = "http://127.0.0.1:9000/hooks"
    assert ADDRESS.validate_python(plain) == plain
    assert not DOCUMENT.is_valid(plain)

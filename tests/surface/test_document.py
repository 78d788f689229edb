"""The OpenAPI document is complete, stored as it is served, and clean to two linters."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import validator_for

from domain.webhook import EVENT_TYPES
from interfaces.rest.patterns import SAYS_SOMETHING
from interfaces.rest.problem_types import OF_LOGINS, PROBLEM_TYPES
from tests.node import run
from tests.surface.stored import STORED, text_of

Operation = dict[str, Any]


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path in document["paths"].values():
        yield from path.values()


def test_the_stored_copy_is_what_is_served(document: dict[str, Any]) -> None:
    assert STORED.read_text() == text_of(document), "The surface has changed: run `make surface`."


@pytest.mark.parametrize(
    "tool",
    [
        ("redocly", "lint", str(STORED), "--config", "redocly.yaml"),
        ("spectral", "lint", str(STORED), "--ruleset", "spectral.yaml", "-F", "hint"),
    ],
    ids=lambda tool: tool[0],
)
def test_a_linter_finds_nothing(tool: tuple[str, ...]) -> None:
    found = run(*tool)

    assert found.returncode == 0, found.stdout + found.stderr
    assert "warning" not in (found.stdout + found.stderr).lower()


def test_every_operation_says_what_it_does(document: dict[str, Any]) -> None:
    tags = {tag["name"]: tag for tag in document["tags"]}
    for operation in [*operations(document), *_webhooks(document)]:
        for part in ("operationId", "summary", "description"):
            assert operation[part], operation
        assert set(operation["tags"]) <= tags.keys()
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (operation["operationId"], parameter["name"])
    assert all(tag["description"] for tag in tags.values())


def test_whatever_is_sent_or_answered_in_json_has_an_example(document: dict[str, Any]) -> None:
    for operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for media_type, content in body.get("content", {}).items():
                if "json" in media_type:
                    assert content["examples"], (operation["operationId"], body)


def test_every_example_is_as_its_schema_says(document: dict[str, Any]) -> None:
    checked = 0
    for operation in operations(document):
        for body in [operation.get("requestBody", {}), *operation["responses"].values()]:
            for media_type, content in body.get("content", {}).items():
                if "json" in media_type:
                    validator = validator_for({**content["schema"], **_components(document)})
                    for reference in content["examples"].values():
                        name = reference["$ref"].rpartition("/")[2]
                        validator.validate(document["components"]["examples"][name]["value"])
                        checked += 1
    assert checked > 20


def test_every_operation_tells_which_errors_can_come(document: dict[str, Any]) -> None:
    anywhere = {"400", "431", "500"}
    for operation in operations(document):
        told = operation["responses"].keys()
        needs_key = operation.get("security") != []
        assert anywhere <= told, operation["operationId"]
        assert ("401" in told) == needs_key, operation["operationId"]
        assert "404" in told or not _in_path(operation), operation["operationId"]


def test_every_error_that_can_come_is_told_somewhere(document: dict[str, Any]) -> None:
    text = text_of(document)
    nowhere = {"method-not-allowed", *(kind.code for kind in OF_LOGINS)}  # not in the document

    untold = {k.code for k in PROBLEM_TYPES if f'"#/components/examples/{k.code}"' not in text}

    assert untold == nowhere


def test_who_asks_too_much_is_told_when_to_come_back(document: dict[str, Any]) -> None:
    for operation in operations(document):
        for status, header in [("429", "Retry-After"), ("503", "Retry-After"), ("202", "Location")]:
            if answer := operation["responses"].get(status):
                assert header in answer["headers"], operation["operationId"]


def test_whoever_is_known_is_told_what_is_left_of_their_limits(document: dict[str, Any]) -> None:
    for operation in operations(document):
        told = {
            status
            for status, answer in operation["responses"].items()
            if {"RateLimit", "RateLimit-Policy"} <= answer["headers"].keys()
        }
        answers = operation["responses"].keys()
        told_of = {one for one in answers if one[0] in "23" or one == "429"}
        assert told == (told_of if "401" in answers else set()), operation["operationId"]
        assert ("429" in told) == ("401" in answers)


def test_nothing_in_the_document_is_only_our_codes(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert not [name for name in schemas if name.endswith("Shape") or "Validation" in name]
    assert "#/components/schemas/GenerationForm" in text_of(document)
    for schema in schemas.values():
        assert "title" not in schema


def test_webhooks_are_told(document: dict[str, Any]) -> None:
    assert document["webhooks"].keys() == set(EVENT_TYPES)
    for webhook in _webhooks(document):
        (content,) = webhook["requestBody"]["content"].values()
        validator_for({**content["schema"], **_components(document)}).validate(content["example"])


def test_a_prompt_that_shows_nothing_is_one_that_the_document_excludes() -> None:
    validator = validator_for({"type": "string", "pattern": SAYS_SOMETHING})
    unseen = {
        character
        for character in map(chr, range(1, sys.maxunicode + 1))
        if not 0xD800 <= ord(character) <= 0xDFFF and not validator.is_valid(character)
    }

    assert {" ", "\n", "\u200b", "\u00ad", "\ufeff", "\u3000", "\x7f"} <= unseen
    assert {unicodedata.category(c)[0] for c in unseen} == {"C", "Z"}
    assert validator.is_valid("a\u200b")
    assert not validator.is_valid("a\x00")


def _webhooks(document: dict[str, Any]) -> Iterator[Operation]:
    for webhook in document["webhooks"].values():
        yield webhook["post"]


def _components(document: dict[str, Any]) -> dict[str, Any]:
    return {"components": document["components"]}


def _in_path(operation: Operation) -> bool:
    return any(parameter["in"] == "path" for parameter in operation.get("parameters", []))

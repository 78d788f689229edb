"""`darkroom providers`: listed, switched off and on, put in their place."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path

from tests.e2e.stack import Stack
from tests.e2e.typed import Typed, darkroom, service


async def test_providers_are_listed_and_switched(stack: Stack, tmp_path: Path) -> None:
    def typed(*arguments: str) -> Awaitable[Typed]:
        return darkroom("providers", *arguments, folder=tmp_path, **service(stack))

    listed, off = await typed(), await typed("sketch", "--off")
    as_json, on = await typed("--json"), await typed("sketch", "--on", "--place", "1")

    assert listed.out == "1\tsketch\ton\tclosed\t0\tsketch-1\n"
    assert off.out == "1\tsketch\toff\tclosed\t0\tsketch-1\n"
    (item,) = map(json.loads, as_json.lines)
    assert (item["name"], item["enabled"]) == ("sketch", False)
    assert on.out == listed.out


async def test_what_cannot_be_changed_is_said_in_a_sentence(stack: Stack, tmp_path: Path) -> None:
    nobody = await darkroom("providers", "dall-e", "--off", folder=tmp_path, **service(stack))
    nothing = await darkroom("providers", "sketch", folder=tmp_path, **service(stack))
    nameless = await darkroom("providers", "--off", folder=tmp_path, **service(stack))

    nobody.refused(4, "There is no such provider here. Choose one of sketch.")
    nothing.refused(2, "Say what to change: --on, --off or --place.")
    nameless.refused(2, "Name a provider.")

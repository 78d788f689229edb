"""`darkroom doctor`: what works, what does not, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import NoReturn

from rich.text import Text

from infrastructure.doctor import Finding, examine
from interfaces.cli.client import Client, ProblemError, UnreachableError, connected
from interfaces.cli.endings import CommandError, Exit, endings, whatever_threads_do
from interfaces.cli.terminal import output, printable

WIDTH = len("read model image_generations")
MARKS = {
    "ok": ("✓", "green"),
    "degraded": ("!", "yellow"),
    "failing": ("✗", "bold red"),
    "unknown": ("–", "dim"),
}


def doctor(*, as_json: bool) -> NoReturn:
    """Look at everything, say it as it is found, and exit."""
    with asyncio.Runner() as runner, whatever_threads_do(), endings():
        sys.exit(runner.run(_doctor(as_json=as_json)))


async def _doctor(*, as_json: bool) -> Exit:
    findings = []
    async for finding in _findings():
        findings.append(finding)
        if not as_json:
            _show(finding)
    wrong = [finding for finding in findings if finding.state != "ok"]
    if as_json:
        output().print_json(
            json.dumps({"ok": not wrong, "findings": [asdict(one) for one in findings]})
        )
    else:
        count = sum(finding.state != "unknown" for finding in wrong)
        needs = "1 finding needs" if count == 1 else f"{count} findings need"
        output().print(f"\n{needs} you." if wrong else "\nAll is well.")
    return Exit.FAILED if wrong else Exit.DONE


async def _findings() -> AsyncIterator[Finding]:
    async for finding in examine():
        yield finding
    yield _api()


def _api() -> Finding:
    """Whether the API answers at the address and with the key that client commands use."""
    try:
        with connected(patient=False) as client:
            return _quota(client)
    except UnreachableError as error:
        return Finding("api", "failing", error.wrong, error.remedy)
    except ProblemError as error:
        if error.code == "not-authenticated":
            wrong = "The API says no: this API key is not valid."
            return Finding("api", "failing", wrong, "Look at DARKROOM_API_KEY.")
        return Finding("api", "failing", f"The API says no: {error}")
    except CommandError as error:
        return Finding("api", "failing", f"{error}")


def _quota(client: Client) -> Finding:
    client.get("/api/v1/me/quota")
    return Finding("api", "ok", f"{client.url} answers, and knows the key.")


def _show(finding: Finding) -> None:
    mark, style = MARKS[finding.state]
    console = output()
    line = Text.assemble((f"{mark} ", style), (f"{finding.name:<{WIDTH}}  ", "bold"))
    console.print(line + Text(printable(finding.sentence)))
    if finding.remedy:
        console.print(Text(f"{'':{WIDTH}}  → {printable(finding.remedy)}"))

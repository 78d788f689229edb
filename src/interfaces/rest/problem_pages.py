"""What a problem's `type` leads to: a page for people, JSON for programs; and docs/errors.md."""

from __future__ import annotations

from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse

from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import json_answer
from interfaces.rest.errors import NotFoundError
from interfaces.rest.headers import accepts
from interfaces.rest.openapi import PUBLIC, problems
from interfaces.rest.problem_types import PROBLEM_TYPES, ProblemType
from interfaces.rest.security import PLAIN_PAGE
from interfaces.rest.shapes import ProblemTypeList, ProblemTypeShape

BY_CODE = {kind.code: kind for kind in PROBLEM_TYPES}
VARY = {"Vary": "Accept", "Cache-Control": "public, max-age=3600"}
OF_PAGE = {**VARY, "Content-Security-Policy": PLAIN_PAGE}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} · Darkroom</title>
<meta name="viewport" content="width=device-width"><style>
body {{ font: 1.05rem/1.6 system-ui, sans-serif; max-width: 42rem; margin: 4rem auto }}
code {{ background: #8882; padding: .1em .3em; border-radius: .2em }} h1 {{ line-height: 1.2 }}
:root {{ color-scheme: light dark }}</style>{body}</html>"""

_HTML: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}

router = APIRouter(prefix="/problems", tags=["errors"])

Code = Annotated[str, Path(description="A problem's `code`.", examples=["no-provider"])]


@router.get(
    "",
    operation_id="listProblemTypes",
    summary="Every kind of error",
    openapi_extra=PUBLIC,
    responses={200: {"model": ProblemTypeList, **_HTML}, **problems()},
)
async def problem_types(request: Request) -> Response:
    """What happened, why, and what to do, as a page for people or JSON for programs."""
    if _is_a_person(request):
        body = "<h1>Errors</h1>" + "".join(map(_line, PROBLEM_TYPES))
        return HTMLResponse(PAGE.format(title="Errors", body=body), headers=OF_PAGE)
    return json_answer(ProblemTypeList(items=tuple(map(_shape, PROBLEM_TYPES))), headers=VARY)


@router.get(
    "/{code}",
    operation_id="getProblemType",
    summary="One kind of error",
    openapi_extra=PUBLIC,
    responses={200: {"model": ProblemTypeShape, **_HTML}, **problems(kinds.NOT_FOUND)},
)
async def problem_type(request: Request, code: Code) -> Response:
    """Where the `type` of a problem leads."""
    if code not in BY_CODE:
        raise NotFoundError
    kind = BY_CODE[code]
    if _is_a_person(request):
        body = f'{_article(kind)}<p><a href="/problems">All errors</a></p>'
        return HTMLResponse(PAGE.format(title=escape(kind.title), body=body), headers=OF_PAGE)
    return json_answer(_shape(kind), headers=VARY)


def _is_a_person(request: Request) -> bool:
    return accepts("text/html", request.headers.getlist("accept"))


def _shape(kind: ProblemType) -> ProblemTypeShape:
    return ProblemTypeShape(
        type=kind.type,
        code=kind.code,
        status=kind.status,
        title=kind.title,
        why=kind.why,
        remedy=kind.remedy,
    )


def _line(kind: ProblemType) -> str:
    link = f'<a href="/problems/{kind.code}">{escape(kind.title)}</a>'
    return f"<p>{kind.status} {link}<br><code>{kind.code}</code></p>"


def _article(kind: ProblemType) -> str:
    return (
        f"<p>{kind.status} <code>{kind.code}</code></p><h1>{escape(kind.title)}</h1>"
        f"<p>{marked_up(kind.why)}</p><h2>What to do</h2><p>{marked_up(kind.remedy)}</p>"
    )


def marked_up(text: str) -> str:
    """`Words in backquotes` as code."""
    parts = escape(text, quote=False).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))


def errors_markdown() -> str:
    """The text of docs/errors.md."""
    head = (
        "# Errors\n\n"
        "Every error is a problem (RFC 9457, `application/problem+json`) with a stable `type` and "
        "`code`, one sentence in `detail`, and the `requestId` under which it was logged. What is "
        "wrong with single fields stands in `errors`. Clients branch on `code`; new ones may "
        "come.\n\n"
        "The service tells the same at `/problems`, and of each at `/problems/<code>`. This page "
        "is written by `make surface`.\n"
    )
    return head + "".join(map(_section, PROBLEM_TYPES))


def _section(kind: ProblemType) -> str:
    return (
        f"\n## {kind.status} {kind.code}\n\n"
        f"**{kind.title}.** {kind.why}\n\n{kind.remedy}\n\n`type`: `{kind.type}`\n"
    )

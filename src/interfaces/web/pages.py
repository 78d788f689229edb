"""Pages as HTML that needs nothing besides: no script, no font, no picture, nobody else's host."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from html import escape
from uuid import UUID

from fastapi.responses import HTMLResponse

from application.logins import GoingOn
from domain.user import User
from interfaces.rest.problem_pages import marked_up
from interfaces.rest.problem_types import LOGIN_NOT_CONFIGURED, ProblemType

STYLE = (
    "body{font:1.05rem/1.6 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem}"
    "h1{line-height:1.2}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.4rem .8rem .4rem 0;border-bottom:1px solid #8884}"
    "button,.button{font:inherit;padding:.4rem 1rem;border:1px solid #8888;border-radius:.4rem;"
    "background:#8882;color:inherit;text-decoration:none;cursor:pointer}"
    "form{display:inline-block;margin:0 .6rem .6rem 0}td form{margin:0}"
    "small,code{opacity:.75}:root{color-scheme:light dark}"
)
_STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{_STYLE_HASH}'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
}
LOG_IN = '<p><a class="button" href="/auth/login">Log in</a></p>'


def page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    """A page with this title as its heading; `body` is HTML."""
    html = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{escape(title)} · Darkroom</title>"
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
    )
    return HTMLResponse(html, status, HEADERS)


def logged_out(why: str, *, by_provider: bool) -> HTMLResponse:
    """For who is not logged in, and why, if there is more to say."""
    how = LOG_IN if by_provider else f"<p>{marked_up(NO_PROVIDER)}</p>"
    return page("You are not logged in", f"<p>{marked_up(why)}</p>{how}" if why else how)


NO_PROVIDER = (
    "Whoever runs this service logs in by a link: `darkroom up` prints one when it starts, and"
    " `darkroom login-link` makes one."
)


def link_found(token: str) -> HTMLResponse:
    """What a login link leads to: following it does nothing yet, as previewers follow links."""
    return page(
        "Log in as the administrator",
        "<p>The link that led here logs you in once.</p>"
        + _button("/auth/link", "Log in", token=token),
    )


def account(user: User, sessions: Sequence[GoingOn], current: UUID) -> HTMLResponse:
    """Who is logged in, and where else."""
    profile = user.profile
    who = profile.name or profile.email or profile.subject
    email = f" · {escape(profile.email)}" if profile.email else ""
    rows = "".join(_row(one, is_current=one.id == current) for one in sessions)
    return page(
        f"You are logged in as {who}",
        f"<p>{escape(user.role)}{email}</p>"
        + _button("/auth/logout", "Log out")
        + _button("/auth/logout", "Log out everywhere", everywhere="yes")
        + "<h2>Where you are logged in</h2>"
        + f"<table><tr><th>Since<th>Last used<th></tr>{rows}</table>",
    )


def _row(session: GoingOn, *, is_current: bool) -> str:
    end = _button("/auth/logout", "End", session=f"{session.id}")
    what = "<small>this browser</small>" if is_current else end
    return f"<tr><td>{_moment(session.began_at)}<td>{_moment(session.last_used_at)}<td>{what}</tr>"


def told(kind: ProblemType, detail: str, request_id: str) -> HTMLResponse:
    """What went wrong, and what to do."""
    why = f"<p>{marked_up(detail)}</p><h2>What to do</h2><p>{marked_up(kind.remedy)}</p>"
    log_in = "" if kind is LOGIN_NOT_CONFIGURED else LOG_IN
    back = '<p><a class="button" href="/auth">Your account</a></p>'
    foot = f"<p><small>{kind.status} {kind.code} · request {escape(request_id)}</small></p>"
    return page(kind.title, why + log_in + back + foot, status=kind.status)


def _button(to: str, text: str, **fields: str) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in fields.items()
    )
    return f'<form method="post" action="{to}">{hidden}<button>{escape(text)}</button></form>'


def _moment(moment: datetime) -> str:
    return f'<time datetime="{moment.isoformat()}">{moment:%d %b %Y, %H:%M} UTC</time>'

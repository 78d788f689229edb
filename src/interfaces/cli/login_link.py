"""A link that logs the administrator in once: whoever has the key can make one."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from urllib.parse import urlencode

import typer

from application.login_links import LoginLinks
from infrastructure.beside_up import NotRunningError, addresses_left
from infrastructure.settings import Settings
from interfaces.cli.endings import CommandError, Exit
from interfaces.cli.own_keys import UpError, known_admin_key


def link_for(url: str, key: str) -> str:
    """A new link to the service at this address."""
    token = LoginLinks(key).token(datetime.now(UTC))
    return f"{url}/auth/link?{urlencode({'token': token})}"


def print_login_link(settings: Settings) -> None:
    """Print one. Raises CommandError."""
    try:
        key = known_admin_key(settings)
    except UpError as error:
        raise CommandError(f"{error}", Exit.NOT_AUTHENTICATED) from error
    if key is None:
        raise CommandError(
            "There is no administrator's key: DARKROOM_ADMIN_KEY is not set, and `darkroom up` has"
            f" left none in {settings.data_dir}. Set it, or start `darkroom up`.",
            Exit.NOT_AUTHENTICATED,
        )
    typer.echo(link_for(_url(settings), key.value))


def _url(settings: Settings) -> str:
    """What is set, else where a `darkroom up` on the same data folder listens."""
    if "public_url" not in settings.model_fields_set:
        with contextlib.suppress(NotRunningError):
            return addresses_left(settings.data_dir).get("DARKROOM_URL", settings.public_url)
    return settings.public_url

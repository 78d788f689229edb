"""The gatekeeper as an operator's settings want it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from infrastructure.gatekeeping.doors import Door

if TYPE_CHECKING:
    from pydantic import SecretStr

    from application.switches import Switches
    from infrastructure.gatekeeping.gatekeeper import RedisGatekeeper
    from infrastructure.settings import Settings

RECORDING = timedelta(seconds=30)  # what may follow a call before its ticket is given back


def gatekeeper(
    redis_url: str, settings: Settings, switches: Switches, now: Callable[[], datetime]
) -> RedisGatekeeper:
    """Before each configured provider, with its key and limits."""
    from infrastructure.gatekeeping.gatekeeper import RedisGatekeeper  # slow to import

    return RedisGatekeeper(
        redis_url,
        {name: _door(name, settings) for name in settings.providers},
        switches,
        rules=settings.circuit,
        life=timedelta(seconds=settings.call_seconds) + RECORDING,
        clock=now,
    )


def _door(name: str, settings: Settings) -> Door:
    key: SecretStr | None = getattr(settings, f"{name}_api_key", None)
    return Door.of(
        name,
        key=key.get_secret_value() if key else None,
        rate=settings.provider_rates.by_provider.get(name),
        concurrency=settings.provider_concurrency.by_provider.get(name),
    )

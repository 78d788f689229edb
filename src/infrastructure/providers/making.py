"""The providers as an operator's settings want them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, TypedDict

from application.ports.providers import Provider
from infrastructure.providers import gemini_models, openai_models, stability_models
from infrastructure.providers.at_first_call import AtFirstCall
from infrastructure.settings import Settings, needed

if TYPE_CHECKING:
    from pydantic import SecretStr


def _sketch(settings: Settings) -> Provider:
    from infrastructure.providers.sketch import SketchProvider

    return SketchProvider(
        seconds=settings.sketch_seconds,
        faults=settings.sketch_faults,
        images_per_call=settings.sketch_images_per_call,
        ledger=settings.sketch_ledger,
    )


def _openai(settings: Settings) -> Provider:
    from infrastructure.providers.openai import OpenAIProvider

    key, address = settings.openai_api_key, settings.openai_base_url
    return OpenAIProvider(**_vendor_access("openai", key, address, settings))


def _gemini(settings: Settings) -> Provider:
    from infrastructure.providers.gemini import GeminiProvider

    key, address = settings.gemini_api_key, settings.gemini_base_url
    access = _vendor_access("gemini", key, address, settings)
    return GeminiProvider(**access, api_version=settings.gemini_api_version)


def _stability(settings: Settings) -> Provider:
    from infrastructure.providers.stability import StabilityProvider

    key, address = settings.stability_api_key, settings.stability_base_url
    return StabilityProvider(**_vendor_access("stability", key, address, settings))


class VendorAccess(TypedDict):
    """How a vendor is asked."""

    api_key: str
    base_url: str | None
    read_seconds: float


def _vendor_access(
    vendor: str, key: SecretStr | None, address: str | None, settings: Settings
) -> VendorAccess:
    return VendorAccess(
        api_key=needed(f"{vendor}_api_key", key).get_secret_value(),
        base_url=address,
        read_seconds=settings.call_seconds,
    )


VENDORS = {
    "openai": (openai_models.CAPABILITIES, _openai),
    "gemini": (gemini_models.CAPABILITIES, _gemini),
    "stability": (stability_models.CAPABILITIES, _stability),
}


def _provider(name: str, settings: Settings) -> Provider:
    """An SDK is imported only where it is configured, and by who calls it."""
    if name == "sketch":
        return _sketch(settings)
    capabilities, make = VENDORS[name]
    return AtFirstCall(name, capabilities, partial(make, settings))


def providers_of(settings: Settings) -> dict[str, Provider]:
    """In the operator's order of preference."""
    return {name: _provider(name, settings) for name in settings.providers}


async def make_all_ready(configured: Mapping[str, Provider]) -> None:
    """Import what they stand on, for which a first call would wait."""
    for provider in configured.values():
        if isinstance(provider, AtFirstCall):
            await provider.ready()


async def close_all(configured: Mapping[str, Provider]) -> None:
    """Disconnect them."""
    for provider in configured.values():
        await provider.close()

"""Which provider is asked for a generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from application.ports.providers import Capabilities, Provider
from domain.image import ImageSpec


class NoProviderError(Exception):
    """No configured provider can fulfil the request; the message says why and what would do."""


@dataclass(frozen=True)
class Route:
    """A provider and the model to ask it for."""

    provider: Provider
    model: str


class Router:
    """Picks the first provider, in the operator's order of preference, that can do it."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = providers

    def route(self, spec: ImageSpec, *, references: int, negative_prompt: bool) -> Route:
        """Raises NoProviderError with the reason of each provider that could have been meant."""
        reasons: list[str] = []
        for provider in self._meant(spec):
            reason = obstacle(
                provider.capabilities, spec, references=references, negative_prompt=negative_prompt
            )
            if reason is None:
                return Route(provider, spec.model or provider.capabilities.models[0])
            reasons.append(f"{provider.name} {reason}")
        raise NoProviderError("; ".join(reasons or ["no provider is configured"]) + ".")

    def provider(self, name: str) -> Provider | None:
        """The provider of this name, None when it is not configured (any more)."""
        return self._providers.get(name)

    def _meant(self, spec: ImageSpec) -> list[Provider]:
        if spec.provider is None:
            return list(self._providers.values())
        if spec.provider not in self._providers:
            raise NoProviderError(
                f"There is no provider {spec.provider!r} here. "
                f"Choose one of {', '.join(self._providers)}, or leave it out."
            )
        return [self._providers[spec.provider]]


def obstacle(
    offered: Capabilities, spec: ImageSpec, *, references: int, negative_prompt: bool
) -> str | None:
    """Why a provider cannot do this, as the end of a sentence; None when it can."""
    obstacles = (
        (
            spec.model not in (None, *offered.models),
            f"has no model {spec.model!r}, choose one of {', '.join(offered.models)}",
        ),
        (
            spec.format not in (None, *offered.formats),
            f"makes no {spec.format}, choose one of {', '.join(offered.formats)}",
        ),
        (
            spec.quality not in (None, *offered.qualities),
            f"has no quality {spec.quality!r}, choose one of {', '.join(offered.qualities)}",
        ),
        (
            spec.size is not None and pixels(spec.size) > offered.max_pixels,
            f"makes at most {offered.max_pixels} pixels, choose a smaller size",
        ),
        (
            spec.aspect_ratio is not None and steepness(spec.aspect_ratio) > offered.max_steepness,
            f"makes nothing longer than {offered.max_steepness}:1, choose another aspect ratio",
        ),
        (
            references > offered.max_references,
            f"takes at most {offered.max_references} reference images",
        ),
        (
            negative_prompt and not offered.negative_prompt,
            "takes no negative prompt, say it in the prompt",
        ),
        (spec.seed is not None and not offered.seed, "takes no seed, leave it out"),
    )
    return next((reason for hinders, reason in obstacles if hinders), None)


def pixels(size: str) -> int:
    """How many pixels `WIDTHxHEIGHT` is."""
    width, _, height = size.partition("x")
    return int(width) * int(height)


def steepness(aspect_ratio: str) -> float:
    """How many times the longer side of `W:H` is the shorter one."""
    width, _, height = aspect_ratio.partition(":")
    return max(int(width) / int(height), int(height) / int(width))

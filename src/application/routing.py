"""Which providers can be asked for a generation, in the order in which they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from application.fitting import DoesNotFitError, Fit, Wanted, fit
from application.ports.health import Gatekeeper
from application.ports.providers import Model, Provider


class NoProviderError(Exception):
    """No configured provider can fulfil the request; the message says why and what would do."""


@dataclass(frozen=True)
class Route:
    """A provider, the model to ask it for, and the request in that model's terms."""

    provider: Provider
    model: Model
    fit: Fit


@dataclass(frozen=True)
class Routes:
    """Those that can do it, in order of preference; why the others cannot, by name."""

    possible: Sequence[Route]
    passed_over: Mapping[str, str]


class Router:
    """Finds the providers that can do it; the administrator's order is the gatekeeper's to know."""

    def __init__(self, providers: Mapping[str, Provider], gate: Gatekeeper) -> None:
        self._providers = providers
        self._gate = gate

    async def routes(self, wanted: Wanted) -> Routes:
        """Raises NoProviderError with the reason of each provider that could have been meant."""
        possible: list[Route] = []
        passed_over: dict[str, str] = {}
        meant = self._meant(wanted)
        switched_on = await self._gate.order(tuple(meant))
        for name in meant:
            if name not in switched_on:
                passed_over[name] = "is switched off"
        for name in switched_on:
            try:
                possible.append(_route(meant[name], wanted))
            except DoesNotFitError as obstacle:
                passed_over[name] = str(obstacle)
        if not possible:
            reasons = [f"{name} {reason}" for name, reason in passed_over.items()]
            raise NoProviderError("; ".join(reasons or ["no provider is configured"]) + ".")
        return Routes(possible, passed_over)

    def provider(self, name: str) -> Provider | None:
        """The provider of this name, None when it is not configured (any more)."""
        return self._providers.get(name)

    def _meant(self, wanted: Wanted) -> Mapping[str, Provider]:
        name = wanted.spec.provider
        if name is None:
            return self._providers
        if name not in self._providers:
            raise NoProviderError(
                f"There is no provider {name!r} here. "
                f"Choose one of {', '.join(self._providers)}, or leave it out."
            )
        return {name: self._providers[name]}


def _route(provider: Provider, wanted: Wanted) -> Route:
    """By the model asked for, else by the provider's first that can do it."""
    models = provider.capabilities.models
    if wanted.spec.model is not None:
        models = tuple(model for model in models if model.name == wanted.spec.model)
    obstacles = []
    for model in models:
        try:
            return Route(provider, model, fit(wanted, model))
        except DoesNotFitError as obstacle:
            obstacles.append(obstacle)
    if obstacles:
        raise obstacles[0]
    names = ", ".join(model.name for model in provider.capabilities.models)
    raise DoesNotFitError(f"has no model {wanted.spec.model!r}, choose one of {names}")

"""Which providers can be asked for a generation, in the order in which they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    """The providers that could be meant, in order of preference: a way, or why there is none."""

    ways: Mapping[str, Route | str]

    @property
    def possible(self) -> Sequence[Route]:
        """Those that can do it."""
        return [way for way in self.ways.values() if isinstance(way, Route)]

    def without(self, obstacles: Mapping[str, str]) -> Routes:
        """What is left when these providers cannot do it, for these reasons."""
        return Routes({**self.ways, **obstacles})

    def in_turn(self, *, last: Collection[str]) -> Sequence[tuple[str, Route | str]]:
        """All of them, in order of preference but for those that are to be the last."""
        return sorted(self.ways.items(), key=lambda way: way[0] in last)

    def before(self, name: str) -> frozenset[str]:
        """Those that are preferred to this one."""
        names = list(self.ways)
        return frozenset(names[: names.index(name)])


class Router:
    """Finds the providers that can do it; the administrator's order is the gatekeeper's to know."""

    def __init__(self, providers: Mapping[str, Provider], gate: Gatekeeper) -> None:
        self._providers = providers
        self._gate = gate

    async def routes(self, wanted: Wanted) -> Routes:
        """Raises NoProviderError with the reason of each provider that could have been meant."""
        meant = self._meant(wanted)
        switched_on = await self._gate.order(tuple(meant))
        ways: dict[str, Route | str] = {
            name: "is switched off" for name in meant if name not in switched_on
        }
        for name in switched_on:
            try:
                ways[name] = _route(meant[name], wanted)
            except DoesNotFitError as obstacle:
                ways[name] = str(obstacle)
        routes = Routes(ways)
        if not routes.possible:
            reasons = [f"{name} {reason}" for name, reason in ways.items()]
            raise NoProviderError("; ".join(reasons or ["no provider is configured"]) + ".")
        return routes

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

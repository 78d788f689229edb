"""Nobody stands before the providers: where no calls are made, or none are held up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from application.ports.health import Admitted, Health, Verdict


class AlwaysOpen:
    """Admits everybody at once and learns nothing."""

    async def order(self, names: Sequence[str]) -> Sequence[str]:
        return names

    async def enter(self, _provider: str, _model: str, /) -> Admitted:
        return Admitted("")

    async def leave(self, _provider: str, _model: str, _ticket: str, _outcome: Verdict, /) -> None:
        pass

    async def health(self, names: Sequence[str]) -> Mapping[str, Health]:
        return {name: Health() for name in names}

"""The built-in provider on stage."""

import random
from collections.abc import Sequence
from typing import Any

from application.ports.providers import Provider
from infrastructure.providers.sketch import SketchProvider
from infrastructure.settings_values import SketchFaults
from tests.contracts.stages.stage import Outcome, Stage


class _First(random.Random):
    """Chooses the first that there is."""

    def choice(self, seq: Sequence[Any]) -> Any:
        return seq[0]


def _told(fault: str) -> Provider:
    return SketchProvider(faults=SketchFaults(**{fault: 1.0} if fault else {}), chance=_First())


STAGE = Stage(
    "sketch", _told, {"refuse": Outcome("moderation_input"), "fail": Outcome("unavailable")}
)

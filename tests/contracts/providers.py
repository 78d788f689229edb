"""Every provider that the contract tests are run with: one line each, one file each in stages/."""

import pytest

from tests.contracts.stages import fake, gemini, openai, sketch, stability
from tests.contracts.stages.stage import ServedStage, Stage

STAGES: tuple[Stage | ServedStage, ...] = (
    sketch.STAGE,
    fake.STAGE,
    openai.STAGE,
    gemini.STAGE,
    stability.STAGE,
)
SERVED = [stage for stage in STAGES if isinstance(stage, ServedStage)]

CUT_OFF = ("refuse", "drop", "lose_answer", "truncate")


def _name(value: Stage | ServedStage | str) -> str:
    return value if isinstance(value, str) else value.name


every_provider = pytest.mark.parametrize("stage", STAGES, ids=_name)
every_served_provider = pytest.mark.parametrize("stage", SERVED, ids=_name)
every_error = pytest.mark.parametrize(
    ("stage", "error"), [(stage, error) for stage in STAGES for error in stage.errors], ids=_name
)
every_loss = pytest.mark.parametrize(
    ("stage", "fault"),
    [(stage, fault) for stage in SERVED for fault in (*CUT_OFF, *stage.lost)],
    ids=_name,
)

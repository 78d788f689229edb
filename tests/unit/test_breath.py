"""How long a follower waits between two looks at the log."""

from __future__ import annotations

import pytest

from infrastructure.event_store.follower import BREATH, QUIET_BREATH, breath_after


@pytest.mark.parametrize(
    ("took", "shortest", "breath"),
    [
        (0.001, BREATH, 0.01),
        (0.005, BREATH, 0.015),  # processors are busy: two thirds of the time are others'
        (0.02, BREATH, 0.06),
        (2.0, BREATH, 0.1),  # nobody's history is late because there was much to catch up with
        (0.001, QUIET_BREATH, 0.1),
    ],
)
def test_a_breath_is_as_long_as_looks_are_slow(took: float, shortest: float, breath: float) -> None:
    assert breath_after(took, shortest=shortest) == pytest.approx(breath)

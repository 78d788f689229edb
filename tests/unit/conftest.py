"""What tests of units share."""

import pytest

from tests.studio import Studio


@pytest.fixture
def studio() -> Studio:
    return Studio()

"""Pictures that pass through a process: how many of whom it holds at once."""

import pytest

from interfaces.rest.carried import Carrying, TooMuchCarriedError


def test_one_user_has_only_a_part_of_the_room() -> None:
    carrying = Carrying(3, most_of_a_user=2)
    for _ in range(2):
        carrying.begin("flooding")
    with pytest.raises(TooMuchCarriedError):
        carrying.begin("flooding")
    carrying.begin("other")
    with pytest.raises(TooMuchCarriedError):
        carrying.begin("third")
    carrying.end("flooding")
    carrying.begin("third")

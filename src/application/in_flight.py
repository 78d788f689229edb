"""What is told to whoever asks for pictures while as many generations are in flight as may be."""

from __future__ import annotations

from application.ports.event_store import TooManyInFlight


class TooManyOfUserError(Exception):
    """A user's own bound: others are served as ever."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{_generations(most)} in flight for you, and no more may be at once. Ask again when"
            " one of them has ended."
        )


class TooManyOfAllError(Exception):
    """The bound of all users together."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{_generations(most)} in flight here, and no more may be at once. Ask again in a"
            " moment."
        )


def refusal(outcome: TooManyInFlight) -> Exception:
    """The error that says so."""
    error = TooManyOfUserError if outcome.whose == "user" else TooManyOfAllError
    return error(outcome.most)


def _generations(most: int) -> str:
    return "1 generation is" if most == 1 else f"{most} generations are"

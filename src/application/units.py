"""The units of a generation: taken when it is asked for, given back when it ends with fewer.

And a user's own limits of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from application.ports.event_store import OwnLimits, Units
from domain.generation import Generation
from domain.quota import WindowType
from domain.user import User


def units_taken(generation: Generation, limits: Mapping[WindowType, int | None]) -> Units:
    """What a new one takes from each of its windows, where the limits allow."""
    return _units(generation, generation.units, limits)


def units_given_back(generation: Generation) -> Units | None:
    """What its decisions not yet recorded give back to each of its windows; None for nothing."""
    returned = generation.units_to_return
    return _units(generation, -returned, {}) if returned else None


def limits_given(user: User) -> OwnLimits | None:
    """All limits of their own, where decisions not yet recorded change any; None for no change."""
    changes = (isinstance(event, User.QuotaChanged) for event in user.pending_events)
    return OwnLimits(user.id, user.limits) if any(changes) else None


def _units(generation: Generation, units: int, limits: Mapping[WindowType, int | None]) -> Units:
    return Units(
        generation.user_id, units, generation.windows, limits, end_user_id=generation.end_user_id
    )

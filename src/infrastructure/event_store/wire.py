"""Commands and outcomes as `append_v1` takes and gives them: JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from application.ports.event_store import (
    Accepted,
    ClaimWork,
    Command,
    Conflict,
    Duplicate,
    Fenced,
    HoldWork,
    IdempotencyKey,
    OpenWork,
    Outcome,
    OverLimit,
    OwnLimits,
    ReleaseWork,
    TooManyInFlight,
    Units,
    WindowClosed,
    Work,
)
from domain.generation import Generation
from domain.quota import Allowance
from infrastructure.event_store.mapper import JsonMapper


def encode(command: Command, mapper: JsonMapper) -> str:
    """One element of `append_v1`'s argument."""
    fields: dict[str, Any] = {}
    if command.events:
        fields["events"] = [
            {
                "id": row.originator_id,
                "version": row.originator_version,
                "topic": row.topic,
                "state": row.state.decode(),
            }
            for row in map(mapper.to_stored_event, command.events)
        ]
    if command.units is not None:
        fields["units"] = _units(command.units)
    if command.idempotency is not None:
        fields["idempotency"] = _idempotency(command.idempotency)
    if command.work is not None:
        fields["work"] = _work(command.work, calls=_calls_started(command))
    if command.limits is not None:
        fields["limits"] = _limits(command.limits)
    return to_json(fields).decode()


def decode(fields: Mapping[str, Any], command: Command) -> Outcome:
    """The outcome that `append_v1` gave for this command."""
    match fields["outcome"]:
        case "accepted":
            return Accepted(
                position=fields["position"],
                recorded_at=datetime.fromisoformat(fields["recorded_at"]),
                repeated=fields["repeated"],
                allowances=_allowances(command, fields, taken=True),
            )
        case "conflict":
            return Conflict()
        case "over_limit":
            return OverLimit(_allowances(command, fields, taken=False))
        case "window_closed":
            return WindowClosed(now=datetime.fromisoformat(fields["now"]))
        case "too_many_in_flight":
            return TooManyInFlight(fields["whose"], fields["most"], fields["in_flight"])
        case "duplicate":
            return Duplicate(UUID(fields["ref"]), fields["same_fingerprint"])
        case "fenced":
            return Fenced()
    raise ValueError(f"append_v1 answered {fields['outcome']!r}, which this release does not know.")


def _units(units: Units) -> dict[str, Any]:
    return {
        "units": units.units,
        "windows": [
            {
                **window.model_dump(),
                "owner": units.owner_of(window),
                "limit": units.limits.get(window.type),
            }
            for window in units.windows
        ],
    }


def _allowances(
    command: Command, fields: Mapping[str, Any], *, taken: bool
) -> tuple[Allowance, ...]:
    """Told is, window by window, what was used before the command, and the limit."""
    units, told = command.units, fields.get("windows")
    if units is None or told is None:
        return ()
    more = units.units if taken else 0
    return tuple(
        Allowance(window, limit, used + more)
        for window, (used, limit) in zip(units.windows, told, strict=True)
    )


def _limits(own: OwnLimits) -> dict[str, Any]:
    return {"user": own.user_id, "units": own.limits}


def _idempotency(key: IdempotencyKey) -> dict[str, Any]:
    return {
        "user": key.user_id,
        "key": key.key,
        "fingerprint": key.fingerprint,
        "ref": key.ref,
        "keep": key.keep.total_seconds(),
        "sending": key.sending.number if key.sending else None,
        "arrived_at": key.sending.arrived_at if key.sending else None,
        "only_a_repeat": key.only_a_repeat,
    }


def _work(work: Work, *, calls: int) -> dict[str, Any]:
    named = {"kind": work.kind, "ref": work.ref}
    match work:
        case OpenWork():
            return {**named, "op": "open", **_opening(work)}
        case ClaimWork():
            return {**named, "op": "claim", "worker": work.worker, "calls": calls}
        case HoldWork():
            return {**named, "op": "hold", "worker": work.worker, "calls": calls}
        case ReleaseWork():
            return {**named, "op": "release", "worker": work.worker, "due_at": work.due_at}
    return {**named, "op": "close", "worker": work.worker}


def _opening(work: OpenWork) -> dict[str, Any]:
    fields = {"user": work.user_id, "deadline": work.deadline.total_seconds()}
    if work.most is None:
        return fields
    return {**fields, "most": {"user": work.most.of_user, "all": work.most.of_all}}


def _calls_started(command: Command) -> int:
    return sum(isinstance(event, Generation.CallStarted) for event in command.events)

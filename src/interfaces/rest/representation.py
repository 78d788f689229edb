"""Generations, events and what is left of a quota as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from application.ports.event_store import Recorded
from application.queue_places import QueuePlace
from domain.generation import Call, Generation
from domain.image import PublishedImage, ReferenceImage
from domain.quota import Allowance
from infrastructure.read_models.image_generations import ImageGenerationRow
from interfaces.rest.shapes import (
    BridgeShape,
    CallShape,
    CostShape,
    ErrorShape,
    EventShape,
    GenerationShape,
    ImageShape,
    JobLinksShape,
    JobPayloadShape,
    JobResultShape,
    JobShape,
    LinksShape,
    QueueShape,
    QuotaShape,
    QuotaWindowShape,
    ReferenceImageShape,
)

ENVELOPE = frozenset(
    {
        *("event_id", "metadata", "originator_id", "originator_version"),
        *("originator_topic", "timestamp"),
    }
)


def of_generation(generation: Generation) -> GenerationShape:
    """As folded from its events: always current."""
    kind, message = generation.error or (None, None)
    calls = tuple(generation.calls.values())
    last = next((call for call in reversed(calls) if call.outcome == "answered"), None)
    used = last or (calls[-1] if calls else None)
    row = ImageGenerationRow(
        id=generation.id,
        position=0,
        user_id=generation.user_id,
        prompt=generation.wish.prompt,
        negative_prompt=generation.wish.negative_prompt,
        metadata=generation.wish.metadata,
        spec=generation.spec,
        provider_used=used.provider if used else None,
        model=used.model if used else generation.spec.model,
        reference_images=generation.references,
        mask=generation.mask,
        status=generation.status,
        calls=calls,
        image_url=generation.published[0].url if generation.published else None,
        images=generation.published,
        missing=generation.missing,
        error_kind=kind,
        error_message=message,
        on_unknown=generation.on_unknown,
        on_refusal=generation.on_refusal,
        retry_of=generation.retry_of,
        end_user=generation.wish.end_user,
        created_at=generation.created_on,
        started_at=generation.started_on,
        completed_at=generation.ended_on,
        deadline_at=generation.deadline,
        deleted_at=generation.deleted_on,
    )
    return of_row(row)


def of_row(row: ImageGenerationRow) -> GenerationShape:
    """As the history's read model has it."""
    spec = row.spec
    error = (
        ErrorShape(kind=row.error_kind, message=row.error_message or "") if row.error_kind else None
    )
    return GenerationShape(
        id=row.id,
        status=row.status,
        prompt=row.prompt,
        negative_prompt=row.negative_prompt,
        provider=row.provider_used,
        model=row.model,
        size=spec.size,
        aspect_ratio=spec.aspect_ratio,
        quality=spec.quality,
        format=spec.format,
        count=spec.count,
        seed=spec.seed,
        background=spec.background,
        compression=spec.compression,
        moderation=spec.moderation,
        fidelity=spec.fidelity,
        bridged=_bridged(row.calls),
        image_url=row.image_url,
        images=tuple(map(_image, row.images)),
        missing=row.missing,
        reference_images=tuple(map(_reference, row.reference_images)),
        mask=_reference(row.mask) if row.mask else None,
        calls=tuple(map(_call, row.calls)),
        cost=_cost(row.calls),
        usage=_usage(row.calls),
        error=error,
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        deadline_at=row.deadline_at,
        deleted_at=row.deleted_at,
        on_unknown=row.on_unknown,
        on_refusal=row.on_refusal,
        retry_of=row.retry_of,
        metadata=row.metadata,
        end_user=row.end_user,
        links=LinksShape(
            self=location(row.id),
            events=f"{location(row.id)}/events",
            job=job_location(row.id),
        ),
    )


def of_job(generation: Generation, place: QueuePlace | None) -> JobShape:
    """A generation's progress, and while it is queued its place."""
    spec = generation.spec
    completed = generation.status == "completed"
    urls = tuple(image.url for image in generation.published)
    return JobShape(
        id=generation.id,
        type="generation",
        status=generation.status,
        payload=JobPayloadShape(**dict(spec), reference_images=len(generation.references)),
        result=JobResultShape(images=urls, missing=generation.missing) if completed else None,
        queue=of_place(place) if place else None,
        error_message=generation.error[1] if generation.error else None,
        created_at=generation.created_on,
        started_at=generation.started_on,
        completed_at=generation.ended_on,
        links=JobLinksShape(
            self=job_location(generation.id),
            generation=location(generation.id),
            events=f"{location(generation.id)}/events",
        ),
    )


def of_place(place: QueuePlace) -> QueueShape:
    """Where a queued generation stands."""
    return QueueShape(place=place.place, reason=place.reason, detail=place.detail)


def of_allowances(allowances: Iterable[Allowance]) -> QuotaShape:
    """What each window allows, and how much of that is used."""
    return QuotaShape(
        windows=tuple(
            QuotaWindowShape(
                type=one.window.type,
                limit=one.limit,
                used=one.used,
                remaining=one.remaining,
                starts_at=one.window.starts_at,
                resets_at=one.window.ends_at,
            )
            for one in allowances
        )
    )


def location(id_: object) -> str:
    """Where a generation is found."""
    return f"/api/v1/generations/{id_}"


def job_location(id_: object) -> str:
    """Where its progress is found."""
    return f"/api/v1/jobs/{id_}"


def of_event(recorded: Recorded, *, without: frozenset[str] = frozenset()) -> EventShape:
    """An event, its fields in camelCase, the envelope apart from the data."""
    event = recorded.event
    left_out = ENVELOPE | without
    fields = {name: getattr(event, name) for name in type(event).model_fields}
    return EventShape(
        position=recorded.position,
        type=event.topic,
        version=event.version,
        recorded_at=recorded.recorded_at,
        actor=event.metadata.actor,
        correlation_id=event.metadata.correlation_id,
        data=_camel({n: v for n, v in fields.items() if n not in left_out}),
    )


def _camel(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {to_camel(name): _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    """Models inside get camelCase names too; the keys of a mapping are data and stay."""
    if isinstance(value, BaseModel):
        return _camel(dict(value))
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value


def _image(image: PublishedImage) -> ImageShape:
    return ImageShape(
        url=image.url,
        sha256=image.sha256,
        content_type=image.content_type,
        width=image.width,
        height=image.height,
        bytes=image.bytes,
        provenance=image.provenance,
        converted_from=image.converted_from,
        provenance_lost=image.provenance_lost,
    )


def _reference(image: ReferenceImage) -> ReferenceImageShape:
    return ReferenceImageShape(
        url=f"/{image.key}",
        sha256=image.sha256,
        content_type=image.content_type,
        width=image.width,
        height=image.height,
        generation=image.generation,
        number=image.number,
    )


def _call(call: Call) -> CallShape:
    return CallShape(
        number=call.number,
        provider=call.provider,
        model=call.model,
        images=call.images,
        outcome=call.outcome,
        passed_over=call.passed_over,
    )


def _bridged(calls: Iterable[Call]) -> tuple[BridgeShape, ...]:
    """Each once, however many calls were made."""
    all_of_them = dict.fromkeys(bridge for call in calls for bridge in call.bridges)
    return tuple(BridgeShape(**dict(bridge)) for bridge in all_of_them)


def _cost(calls: Iterable[Call]) -> CostShape | None:
    """The sum; None while nothing was billed."""
    costs = [call.cost for call in calls if call.cost is not None]
    if not costs:
        return None
    lists = dict.fromkeys(cost.price_list for cost in costs)
    return CostShape(
        amount=sum((cost.amount for cost in costs), Decimal()),
        currency=costs[0].currency,
        price_list=", ".join(lists),
    )


def _usage(calls: Iterable[Call]) -> dict[str, int]:
    total: dict[str, int] = {}
    for call in calls:
        for unit, used in call.usage.items():
            total[unit] = total.get(unit, 0) + used
    return total

"""What goes in and out of the webhooks' routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from domain.delivery import DeliveredType, DeliveryStatus
from domain.retries import Problem
from domain.webhook import EVENT_TYPES, MOST_ENDPOINTS, EventType, WhyDisabled
from interfaces.rest.fields import ReceiverUrl
from interfaces.rest.shapes import Shape

EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=len(EVENT_TYPES))]
ASKED = ConfigDict(strict=True, extra="forbid", validate_by_name=False)


class WebhookRequest(Shape):
    """Where you want to be told, and of what."""

    model_config = ASKED

    url: ReceiverUrl = Field(
        description="Where to: an https:// address on the public internet.",
        examples=["https://shop.example/hooks"],
    )
    events: EventTypes = Field(
        default_factory=lambda: list(EVENT_TYPES), description="Of what: of all, left out."
    )


class WebhookChange(Shape):
    """How a webhook is wanted; what is left out stays as it is."""

    model_config = ConfigDict(**ASKED, json_schema_extra={"minProperties": 1})

    url: ReceiverUrl | SkipJsonSchema[None] = Field(None, description="Where to.")
    events: EventTypes | SkipJsonSchema[None] = Field(None, description="Of what.")
    enabled: bool | SkipJsonSchema[None] = Field(
        None, description="Whether it is told of what happens from now on."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        said = [getattr(self, name) for name in self.model_fields_set]
        if not said or None in said:
            raise ValueError("must say url, events or enabled, and leave out what is to stay")
        return self


class WebhookLinksShape(Shape):
    self: str
    deliveries: str


class WebhookShape(Shape):
    """An endpoint of yours."""

    id: UUID
    url: str
    events: tuple[EventType, ...]
    enabled: bool
    disabled_why: WhyDisabled | None = Field(
        description="`asked`: you wanted it; `gone`: it answered 410; `failing`: a delivery was "
        "given up after all its tries, and it took no other meanwhile."
    )
    created_at: datetime | None
    old_secret_until: datetime | None = Field(
        description="Until when the secret before this one signs as well."
    )
    links: WebhookLinksShape


class SecretWebhookShape(WebhookShape):
    secret: str = Field(
        description="What its deliveries are signed with. It is shown this once.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="],
    )


class WebhookList(Shape):
    items: tuple[WebhookShape, ...] = Field(max_length=MOST_ENDPOINTS)


class WebhookSecretShape(Shape):
    """What signs deliveries to the `webhookUrl` of single requests."""

    secret: str
    old_secret_until: datetime | None = Field(
        description="Until when the secret before this one signs as well."
    )


class DeliveryErrorShape(Shape):
    kind: Problem = Field(description="New ones may come.")
    message: str


class DeliveryShape(Shape):
    """What one receiver is told of one event, and how far that is."""

    id: UUID = Field(description="What the header `webhook-id` of every try says.")
    webhook_id: UUID | None = Field(
        description="Which of your webhooks; null where it goes to the request's `webhookUrl`."
    )
    event_type: DeliveredType
    generation_id: UUID | None = Field(description="null of a test.")
    status: DeliveryStatus
    attempts: int
    last_status: int | None = Field(description="The HTTP status of the last try, if it had one.")
    error: DeliveryErrorShape | None = Field(description="Why the last try did not arrive.")
    next_attempt_at: datetime | None
    created_at: datetime
    ended_at: datetime | None


class GenerationDeliveries(Shape):
    items: tuple[DeliveryShape, ...]


class DeliveryList(Shape):
    items: tuple[DeliveryShape, ...]
    next_cursor: str | None

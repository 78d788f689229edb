"""What goes in and out as JSON on /v1, in OpenAI's own names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from domain.image import Background, Fidelity, Format, Moderation
from interfaces.rest.fields import MOST_REFERENCES, Count, EndUser, Name, Prompt, Size, Text

NOT_OFFERED = frozenset({"complexity", "frame_count", "frame_duration_ms", "svg", "markup"})
"""OpenAI's fields for what no provider here makes: films, drawings, painting over."""

QUALITIES = {"auto": None, "standard": None, "hd": "high"}

Quality = Literal["low", "medium", "high", "xhigh", "max"]


def _size(sent: Any) -> Any:
    return None if sent == "auto" else sent


def _quality(sent: Any) -> Any:
    """Those of retired models are tolerated."""
    return QUALITIES.get(sent, sent) if isinstance(sent, str) else sent


def _someone(sent: Any) -> Any:
    return None if sent == "" else sent


class OpenAIShape(BaseModel):
    """JSON with names as they are. What was sent is never repeated in an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class ImageRequest(OpenAIShape):
    """A request for pictures. Null is as good as left out, and so is any `style`."""

    prompt: Prompt
    model: Name | None = None
    n: Count | None = None
    size: Annotated[Size | None, BeforeValidator(_size)] = None
    quality: Annotated[Quality | None, BeforeValidator(_quality)] = None
    style: Name | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Format | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    background: Background | None = None
    moderation: Moderation | None = None
    user: Annotated[EndUser | None, BeforeValidator(_someone)] = None
    safety_identifier: Annotated[EndUser | None, BeforeValidator(_someone)] = None
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None

    @property
    def end_user(self) -> str | None:
        """Whom the client's operator serves; the newer name wins where it says something."""
        return self.safety_identifier or self.user


class ImageInput(OpenAIShape):
    """A picture to edit, in JSON."""

    image_url: Text | None = None
    file_id: Name | None = None


class EditRequest(ImageRequest):
    """A request for pictures made of others: in JSON they are in it, in a form beside it."""

    input_fidelity: Fidelity | None = None
    images: list[ImageInput] | None = Field(None, max_length=MOST_REFERENCES, repr=False)
    mask: ImageInput | None = Field(None, repr=False)


class InputTokens(OpenAIShape):
    text_tokens: int
    image_tokens: int


class OutputTokens(OpenAIShape):
    text_tokens: int
    image_tokens: int


class Usage(OpenAIShape):
    """Tokens; zeros where a provider does not count them."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_tokens_details: InputTokens
    output_tokens_details: OutputTokens


class Model(OpenAIShape):
    """A model that can be asked for; `owned_by` is the provider."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(OpenAIShape):
    object: Literal["list"] = "list"
    data: tuple[Model, ...]

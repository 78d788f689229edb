"""What a generateContent request may be: every field, its type, and what each model takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
LONG_RATIOS = (*RATIOS, "1:4", "4:1", "1:8", "8:1")


@dataclass(frozen=True)
class ModelRules:
    """What one model takes; `samples` says that it knows seed, temperature and their like."""

    ratios: tuple[str, ...]
    image_sizes: tuple[str, ...]
    samples: bool = True


MODELS = {
    "gemini-nano-banana-2.1": ModelRules(LONG_RATIOS, ("1K", "2K", "4K"), samples=False),
    "gemini-3-pro-image": ModelRules(RATIOS, ("1K", "2K", "4K")),
    "gemini-3.1-flash-lite-image": ModelRules(RATIOS, ("1K",)),
    "gemini-3.1-flash-image": ModelRules(LONG_RATIOS, ("512", "1K", "2K", "4K")),
}


class Strict(BaseModel):
    """Protocol buffers' JSON: camel or snake names, no unknown ones, no other types."""

    model_config = ConfigDict(
        extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True
    )


class Blob(Strict):
    """Bytes in base64."""

    data: str
    mime_type: str


class Part(Strict):
    """One of its fields is set."""

    text: str | None = None
    inline_data: Blob | None = None


class Content(Strict):
    """A turn of the conversation."""

    parts: Annotated[list[Part], Field(min_length=1)]
    role: Literal["user", "model"] | None = None


class ImageConfig(Strict):
    """The shape of a picture."""

    aspect_ratio: str | None = None
    image_size: str | None = None


class GenerationConfig(Strict):
    """How to answer."""

    candidate_count: int | None = None
    seed: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    temperature: float | None = None
    response_modalities: list[Literal["TEXT", "IMAGE"]] | None = None
    image_config: ImageConfig | None = None


class SafetySetting(Strict):
    """What is blocked."""

    category: Literal[
        "HARM_CATEGORY_HARASSMENT",
        "HARM_CATEGORY_HATE_SPEECH",
        "HARM_CATEGORY_SEXUALLY_EXPLICIT",
        "HARM_CATEGORY_DANGEROUS_CONTENT",
        "HARM_CATEGORY_CIVIC_INTEGRITY",
    ]
    threshold: Literal[
        *("BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF")
    ]


class GenerateContentRequest(Strict):
    """One request."""

    contents: Annotated[list[Content], Field(min_length=1)]
    safety_settings: list[SafetySetting] = []
    generation_config: GenerationConfig = GenerationConfig()

    @property
    def parts(self) -> list[Part]:
        """Those of all turns."""
        return [part for content in self.contents for part in content.parts]

    def mistake(self, rules: ModelRules) -> str | None:
        """What is wrong with it for a model."""
        config = self.generation_config
        if config.candidate_count not in (None, 1):
            return "Multiple candidates is not enabled for this model"
        if (config.seed, config.temperature) != (None, None) and not rules.samples:
            return "Sampling parameters (seed) are not supported by this model."
        if any((part.text is None) == (part.inline_data is None) for part in self.parts):
            return "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty."
        if not any(part.text for part in self.parts):
            return "A prompt is needed."
        if config.response_modalities and "IMAGE" not in config.response_modalities:
            return "The requested combination of response modalities is not supported by the model."
        return _mistake_of_shape(config.image_config or ImageConfig(), rules)


def _mistake_of_shape(image: ImageConfig, rules: ModelRules) -> str | None:
    if image.aspect_ratio not in (None, *rules.ratios):
        return (
            "* GenerateContentRequest.generation_config.image_config.aspect_ratio: "
            f"aspect_ratio must be one of {', '.join(rules.ratios)}"
        )
    if image.image_size not in (None, *rules.image_sizes):
        return (
            "* GenerateContentRequest.generation_config.image_config.image_size: "
            f"image_size must be one of {', '.join(rules.image_sizes)}"
        )
    return None


def complaint(error: ValidationError) -> str:
    """As the real one puts it."""
    first = error.errors(include_input=False, include_url=False)[0]
    *where, what = (str(place) for place in first["loc"] or ("body",))
    place = ".".join(where)
    if first["type"] == "extra_forbidden":
        unknown = f"Unknown name \"{what}\" at '{place}': Cannot find field."
        return f"Invalid JSON payload received. {unknown}"
    return f"Invalid value at '{place}.{what}': {first['msg']}"

"""What a model makes of a request: what it offers as it is, what instead, and what not at all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from application.ports.providers import FreeSizes, Model, Terms
from domain.generation import Generation, Wish
from domain.image import Bridge, Bridged, Format, ImageSpec

QUALITIES = ("low", "medium", "high", "xhigh", "max")
COMPRESSED: tuple[Format, ...] = ("jpeg", "webp")
NOT_OFFERED = "not offered"
SAME_SHAPE = 1.03  # times: providers round the sides of what they call 16:9
LIKE_SHAPE = 1.5  # times: a picture of another shape is not what was asked for
FEWER_PIXELS = 2.0  # times
ROUND_SIDES = 8  # pixels, of a size that only an aspect ratio was asked for


@dataclass(frozen=True)
class Wanted:
    """What a request wants of a provider, beside its words."""

    spec: ImageSpec
    wish: Wish
    references: int = 0
    mask: bool = False

    @classmethod
    def of(cls, generation: Generation) -> Wanted:
        """What it was asked for with."""
        references, mask = len(generation.references), generation.mask is not None
        return cls(generation.spec, generation.wish, references, mask)


@dataclass(frozen=True)
class Fit(Terms):
    """A request in a model's terms, and what of it is done otherwise than was asked for.

    `prompt` says what is to be left out too, where the model takes no negative prompt.
    """

    bridges: tuple[Bridge, ...] = ()


class DoesNotFitError(Exception):
    """A model cannot do it: the end of a sentence that says what it lacks."""


def fit(wanted: Wanted, model: Model) -> Fit:
    """Raises DoesNotFitError."""
    if obstacle := next(_obstacles(wanted, model), None):
        raise DoesNotFitError(obstacle)
    fitted = _in_its_terms(wanted, model)
    return replace(fitted, bridges=tuple(_bridges(wanted, fitted)))


def _in_its_terms(wanted: Wanted, model: Model) -> Fit:
    spec, wish = wanted.spec, wanted.wish
    folds = wish.negative_prompt is not None and not model.negative_prompt
    native = spec.format if spec.format in (None, *model.formats) else None
    takes_compression = model.compression and native in COMPRESSED
    moderates = model.moderation_of_edits if wanted.references else model.moderation
    return Fit(
        prompt=_folded(wish.prompt, wish.negative_prompt or "") if folds else wish.prompt,
        negative_prompt=None if folds else wish.negative_prompt,
        size=_size(spec, model),
        quality=_quality(spec, model),
        format=native,
        background=spec.background if model.transparency else None,
        compression=spec.compression if takes_compression else None,
        moderation=spec.moderation if moderates else None,
        fidelity=spec.fidelity if model.fidelity else None,
    )


def _bridges(wanted: Wanted, fitted: Fit) -> Iterator[Bridge]:
    """What is done otherwise than was asked for."""
    spec = wanted.spec
    if wanted.wish.negative_prompt is not None and fitted.negative_prompt is None:
        yield _bridge("negative_prompt", "a negative prompt", "said in the prompt")
    if fitted.size and (what := _other_shape(spec, fitted.size)):
        yield _bridge(what, getattr(spec, what), fitted.size)
    if spec.quality != fitted.quality:
        yield _bridge("quality", spec.quality, fitted.quality or NOT_OFFERED)
    if spec.format != fitted.format:
        yield _bridge("format", spec.format, "converted")
    for wish in _dropped(spec, fitted):
        yield _bridge(wish, getattr(spec, wish), NOT_OFFERED)


def _dropped(spec: ImageSpec, fitted: Fit) -> Iterator[Bridged]:
    """Wishes that are no reason to refuse: a model without them does the next best thing."""
    is_converted = spec.format != fitted.format and spec.format in COMPRESSED  # by us, as asked for
    if spec.compression is not None and fitted.compression is None and not is_converted:
        yield "compression"
    if spec.moderation == "low" and fitted.moderation is None:
        yield "moderation"
    if spec.fidelity is not None and fitted.fidelity is None:
        yield "fidelity"


def _bridge(what: Bridged, asked: object, got: str) -> Bridge:
    return Bridge(what=what, asked=str(asked), got=got)


def _obstacles(wanted: Wanted, model: Model) -> Iterator[str]:
    """Why a model cannot do this, each as the end of a sentence."""
    yield from _obstacles_of_references(wanted, model)
    yield from _obstacles_of_words(wanted, model)
    yield from _obstacles_of_size(wanted.spec, model)
    spec = wanted.spec
    if spec.seed is not None and not model.seed:
        yield "takes no seed, leave it out"
    if spec.background == "transparent" and not model.transparency:
        yield "paints no transparent background, leave it out"
    if spec.background == "transparent" and spec.format == "jpeg":
        yield "cannot make a JPEG with a transparent background, ask for png or webp"


def _obstacles_of_references(wanted: Wanted, model: Model) -> Iterator[str]:
    spec, most = wanted.spec, model.references.most if model.references else 0
    if wanted.references > most:
        yield f"takes at most {most} reference images" if most else "takes no reference images"
    if wanted.references and model.shaped_by_reference and (spec.size or spec.aspect_ratio):
        yield "gives a picture the shape of its reference image, leave the size out"
    if wanted.mask and not model.mask:
        yield "takes no mask, say in the prompt what is to change"


def _obstacles_of_words(wanted: Wanted, model: Model) -> Iterator[str]:
    quality, names = wanted.spec.quality, ", ".join(model.qualities)
    if _length(wanted, model) > model.prompt_characters:
        yield f"takes at most {model.prompt_characters} characters, write a shorter prompt"
    if quality in (None, *model.qualities, *QUALITIES):
        return
    if names:
        yield f"has no quality {quality!r}, choose one of {names}"
    else:
        yield "offers no choice of quality, leave it out"


def _length(wanted: Wanted, model: Model) -> int:
    negative = wanted.wish.negative_prompt
    if negative is None or model.negative_prompt:
        return max(len(wanted.wish.prompt), len(negative or ""))
    return len(_folded(wanted.wish.prompt, negative))


def _folded(prompt: str, negative_prompt: str) -> str:
    return f"{prompt}\n\nLeave out of the picture: {negative_prompt}"


# --- quality -------------------------------------------------------------------------------------


def _quality(spec: ImageSpec, model: Model) -> str | None:
    """The one asked for, or the nearest on the scale that all providers' names lie on."""
    offered = [QUALITIES.index(name) for name in model.qualities if name in QUALITIES]
    if spec.quality in (None, *model.qualities) or not offered:
        return spec.quality if spec.quality in model.qualities else None
    asked = QUALITIES.index(spec.quality)
    return QUALITIES[min(offered, key=lambda place: (abs(place - asked), place))]


# --- size ----------------------------------------------------------------------------------------

Sides = tuple[int, int]


def _size(spec: ImageSpec, model: Model) -> str | None:
    """The model's size that is nearest to what was asked for, None when nothing was."""
    asked = _asked(spec, model)
    if asked is None:
        return None
    width, height = _nearest(asked, model)
    return f"{width}x{height}"


def _asked(spec: ImageSpec, model: Model) -> Sides | None:
    if spec.size is not None:
        return sides(spec.size)
    if spec.aspect_ratio is None:
        return None
    across, _, down = spec.aspect_ratio.partition(":")
    ratio = int(across) / int(down)
    free = model.free_sizes
    pixels = free.usual_pixels if free else _pixels(sides(model.sizes[0]))
    step = ROUND_SIDES if free else 1
    width, height = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
    return max(1, round(width / step)) * step, max(1, round(height / step)) * step


def _nearest(asked: Sides, model: Model) -> Sides:
    if model.free_sizes:
        return _nearest_free(asked, model.free_sizes)

    def far(size: Sides) -> tuple[float, float]:
        return round(_times(_ratio(size), _ratio(asked)), 2), _times(_pixels(size), _pixels(asked))

    return min(map(sides, model.sizes), key=far)


def _nearest_free(asked: Sides, free: FreeSizes) -> Sides:
    """As asked where it can be; else of the same shape, within the bounds, in whole steps."""
    pixels = asked[0] * asked[1]
    scale = math.sqrt(min(max(pixels, free.min_pixels), free.max_pixels) / pixels)
    scale = min(max(scale, free.shortest / min(asked)), free.longest / max(asked))
    width, height = (max(free.step, round(side * scale / free.step) * free.step) for side in asked)
    return _within(width, height, free)


def _within(width: int, height: int, free: FreeSizes) -> Sides:
    """The nearest in whole steps where rounding left the bounds."""
    step = free.step
    while width * height > free.max_pixels or max(width, height) > free.longest:
        width, height = (width - step, height) if width >= height else (width, height - step)
    while width * height < free.min_pixels or max(width, height) > free.steepest * min(
        width, height
    ):
        width, height = (width + step, height) if width < height else (width, height + step)
    return width, height


def _obstacles_of_size(spec: ImageSpec, model: Model) -> Iterator[str]:
    asked = _asked(spec, model)
    if asked is None:
        return
    nearest = _nearest(asked, model)
    steepest = model.free_sizes.steepest if model.free_sizes else None
    if _times(_ratio(nearest), _ratio(asked)) > LIKE_SHAPE or (
        steepest is not None and _steepness(asked) > steepest * SAME_SHAPE
    ):
        longest = steepest or max(_steepness(sides(size)) for size in model.sizes)
        yield f"makes nothing longer than {longest:.3g}:1, choose another shape"
    elif spec.size is not None and _pixels(asked) > FEWER_PIXELS * _pixels(nearest):
        most = model.free_sizes.max_pixels if model.free_sizes else _most_pixels(model)
        yield f"makes at most {most} pixels, choose a smaller size"


def _other_shape(spec: ImageSpec, size: str) -> Bridged | None:
    """Which wish is met by another size than the one asked for."""
    if spec.size is not None:
        return "size" if spec.size != size else None
    across, _, down = (spec.aspect_ratio or "1:1").partition(":")
    is_same = _times(_ratio(sides(size)), int(across) / int(down)) <= SAME_SHAPE
    return None if is_same else "aspect_ratio"


def sides(size: str) -> Sides:
    """Width and height of `WIDTHxHEIGHT`."""
    width, _, height = size.partition("x")
    return int(width), int(height)


def _ratio(of: Sides) -> float:
    return of[0] / of[1]


def _pixels(of: Sides) -> int:
    return of[0] * of[1]


def _steepness(of: Sides) -> float:
    return max(of) / min(of)


def _most_pixels(model: Model) -> int:
    return max(_pixels(sides(size)) for size in model.sizes)


def _times(one: float, other: float) -> float:
    """How many times the smaller one the larger one is."""
    return max(one / other, other / one)

"""What the contract tests ask providers for: always within what their models offer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from PIL import Image

from application.ports.providers import CallRequest, FreeSizes, Model, Picture, Provider

PROMPT = "a lighthouse that nobody but us has heard of"


def request_to(
    provider: Provider, *images: int, model: Model | None = None, **wanted: Any
) -> CallRequest:
    """A request for pictures of these numbers, as small as the model makes them."""
    model = model or provider.capabilities.models[0]
    return CallRequest(
        generation=uuid4(),
        call=1,
        images=images or (1,),
        prompt=PROMPT,
        model=model.name,
        **{"size": next(sizes_of(model), None), **wanted},
    )


def sizes_of(model: Model) -> Iterator[str]:
    """Sizes that a model offers: all of them, or the smallest, the largest and the steepest."""
    yield from model.sizes
    if (free := model.free_sizes) is not None:
        side = free.step * -(-free.shortest // free.step)
        while side * side < free.min_pixels:
            side += free.step
        yield f"{side}x{side}"
        yield from _extremes(free)


def _extremes(free: FreeSizes) -> Iterator[str]:
    longest = free.longest // free.step * free.step
    shortest = max(free.shortest, int(longest / free.steepest))
    for short in (-(-shortest // free.step) * free.step, free.max_pixels // longest):
        if short <= longest and free.min_pixels <= longest * short <= free.max_pixels:
            yield f"{longest}x{short}"
            yield f"{short}x{longest}"


def reference(number: int = 1, size: tuple[int, int] = (64, 64)) -> Picture:
    """A reference image, which every model that takes any takes."""
    out = io.BytesIO()
    Image.new("RGB", size, (40 * number % 256, 90, 160)).save(out, "PNG")
    return Picture(out.getvalue(), "image/png")


def mask(size: tuple[int, int] = (64, 64)) -> Picture:
    """A mask whose upper half is to be painted anew."""
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, size[0], size[1] // 2))
    out = io.BytesIO()
    image.save(out, "PNG")
    return Picture(out.getvalue(), "image/png")

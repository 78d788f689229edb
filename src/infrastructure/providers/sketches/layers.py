"""A scene in the making: the layers of a sketch from back to front."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from infrastructure.providers.sketches import shapes
from infrastructure.providers.sketches.palettes import Colour, Palette, mixed
from infrastructure.providers.sketches.shapes import Outline

Shade = Literal["down", "across", "lit_left", "lit_right"]


@dataclass(frozen=True)
class Layer:
    """Outlines filled with one gradient over all of them, and opaque from `opacity` to `foot`.

    The gradient runs down, or across from left to right, or outwards from where a round thing
    is lit.
    """

    outlines: Sequence[Outline]
    first: Colour
    last: Colour
    shade: Shade = "down"
    opacity: float = 1.0
    foot: float | None = None


@dataclass(frozen=True)
class Mirror:
    """Water from `level` down that mirrors what is above it so far."""

    level: float
    near: Colour
    far: Colour


@dataclass(frozen=True)
class Light:
    """Sun or moon."""

    x: float
    y: float
    radius: float


@dataclass
class Scene:
    """A composition in the making: `width` in heights of the picture, layers from back to front.

    Its main thing stands at `stand`, a part of the width that the light leaves free.
    """

    words: frozenset[str]
    chance: random.Random
    width: float
    palette: Palette
    light: Light
    stand: float
    layers: list[Layer | Mirror] = field(default_factory=list)

    @property
    def unit(self) -> float:
        """The measure of single things: the shorter side."""
        return min(1.0, self.width)

    @property
    def lit(self) -> Shade:
        """How round things in the scene are shaded."""
        return "lit_left" if self.light.x < self.width / 2 else "lit_right"

    def add(
        self,
        outlines: Iterable[Outline],
        first: Colour,
        last: Colour | None = None,
        *,
        shade: Shade = "down",
        opacity: float = 1.0,
        foot: float | None = None,
    ) -> None:
        """Lay something in front of everything so far."""
        last = first if last is None else last
        self.layers.append(Layer(list(outlines), first, last, shade, opacity, foot))

    def mist(self, top: float, bottom: float, density: float) -> None:
        """Lay mist that thickens from `top` down to `bottom`."""
        cover = shapes.box(-0.02, top, self.width + 0.02, bottom)
        tone = mixed(self.palette.horizon, self.palette.light, 0.25)
        self.add([cover], tone, opacity=0.0, foot=density)

    def names(self, *words: str) -> bool:
        """Whether the prompt names one of these."""
        return not self.words.isdisjoint(words)

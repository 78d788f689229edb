"""What sketches can show, each a composition in layers from back to front."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from infrastructure.providers import sketch_shapes as shapes
from infrastructure.providers.sketch_palettes import Colour, Palette, mixed
from infrastructure.providers.sketch_shapes import Outline


@dataclass(frozen=True)
class Layer:
    """Outlines filled with one gradient, from the top of the highest to the foot of the lowest."""

    outlines: Sequence[Outline]
    top: Colour
    bottom: Colour
    opacity: float = 1.0


@dataclass(frozen=True)
class Light:
    """Sun or moon."""

    x: float
    y: float
    radius: float


@dataclass
class Scene:
    """A composition in the making: `width` in heights of the picture, layers from back to front."""

    words: frozenset[str]
    chance: random.Random
    width: float
    palette: Palette
    light: Light
    layers: list[Layer] = field(default_factory=list)

    @property
    def unit(self) -> float:
        """The measure of single things: the shorter side."""
        return min(1.0, self.width)

    def add(
        self, outlines: Iterable[Outline], top: Colour, bottom: Colour, opacity: float = 1.0
    ) -> None:
        """Lay something in front of everything so far."""
        self.layers.append(Layer(list(outlines), top, bottom, opacity))

    def names(self, *words: str) -> bool:
        """Whether the prompt names one of these."""
        return not self.words.isdisjoint(words)


def _mountains(scene: Scene) -> None:
    chance, palette = scene.chance, scene.palette
    for k in range(5):
        part = k / 4
        skyline = shapes.ridge(chance, scene.width, 0.5 + 0.11 * k, 0.3 - 0.045 * k, 0.52)
        tone = palette.depth(part**1.3)
        scene.add([shapes.grounded(skyline)], tone, mixed(tone, palette.horizon, 0.62 - 0.5 * part))
        if k < 3:
            slopes = shapes.lit_slopes(chance, skyline, scene.light.x)
            scene.add(slopes, mixed(tone, palette.light, 0.75), tone, 0.75)
    _firs(scene, shapes.swell(chance, scene.width, 0.97, 0.02), 26, 0.1, palette.near)


def _forest(scene: Scene) -> None:
    chance, palette = scene.chance, scene.palette
    far = shapes.ridge(chance, scene.width, 0.52, 0.2, 0.45)
    scene.add([shapes.grounded(far)], palette.depth(0.05), palette.horizon)
    for k in range(4):
        part = (k + 1) / 4
        ground = shapes.swell(chance, scene.width, 0.6 + 0.115 * k, 0.05)
        _firs(
            scene, ground, 44 - 9 * k, 0.09 + 0.055 * k, palette.depth(part), mist=0.6 * (1 - part)
        )
        if k == 2:
            _cabin(scene, ground)
    if scene.names("fox", "cat", "dog", "wolf", "bear"):
        animal = shapes.cat(scene.width * chance.uniform(0.6, 0.75), 0.97, scene.unit * 0.26)
        scene.add(animal, palette.accent, mixed(palette.accent, palette.near, 0.45))


def _firs(
    scene: Scene, ground: Outline, count: int, height: float, tone: Colour, mist: float = 0.0
) -> None:
    chance = scene.chance
    places = [chance.uniform(-0.03, 1.03) * scene.width for _ in range(round(count * scene.width))]
    trees = [
        shapes.fir(
            chance, x, shapes.height_at(ground, x) + 0.02, height * chance.uniform(0.55, 1.2)
        )
        for x in places
    ]
    scene.add([shapes.grounded(ground), *trees], tone, mixed(tone, scene.palette.horizon, mist))


def _cabin(scene: Scene, ground: Outline) -> None:
    if not scene.names("cabin", "house", "cottage", "hut", "home"):
        return
    x, size = scene.width * scene.chance.uniform(0.22, 0.42), scene.unit * 0.17
    at = (x, shapes.height_at(ground, x) + 0.03)
    palette = scene.palette
    walls = [shapes.placed(s, at, size) for s in (shapes.CHIMNEY, shapes.CABIN)]
    scene.add(walls, palette.depth(0.45), palette.depth(0.7))
    scene.add([shapes.placed(shapes.ROOF, at, size)], palette.near, palette.near)
    scene.add([shapes.placed(shapes.WINDOW, at, size)], palette.light, palette.accent)


def _sea(scene: Scene) -> None:
    chance, palette = scene.chance, scene.palette
    level = chance.uniform(0.52, 0.6)
    coast = shapes.ridge(chance, scene.width, level - 0.01, 0.16, 0.48)
    scene.add(
        [shapes.grounded(coast)], palette.depth(0.12), mixed(palette.far, palette.horizon, 0.6)
    )
    deep = mixed(palette.zenith, palette.near, 0.35)
    scene.add([shapes.box(-0.02, level, scene.width + 0.02, shapes.GROUND)], palette.horizon, deep)
    _glitter(scene, level)
    _boat(scene, level)
    for k in range(4):
        wave = shapes.swell(chance, scene.width, 0.78 + 0.07 * k, 0.018)
        tone = mixed(palette.far, deep, 0.35 + 0.2 * k)
        scene.add([shapes.grounded(wave)], tone, mixed(tone, palette.near, 0.4), 0.8)
    _lighthouse(scene)


def _glitter(scene: Scene, level: float) -> None:
    chance, streaks = scene.chance, []
    for k in range(26):
        y = level + 0.006 + 0.25 * (k / 26) ** 1.2
        x = scene.light.x + scene.unit * chance.uniform(-0.05, 0.05) * (1 + k / 10)
        across = scene.unit * chance.uniform(0.015, 0.06) * (0.6 + k / 26)
        streaks.append(shapes.oval(x, y, across, 0.0022 + 0.002 * k / 26))
    scene.add(streaks, scene.palette.light, scene.palette.light, 0.75)


def _boat(scene: Scene, level: float) -> None:
    size, palette = scene.unit * 0.15, scene.palette
    away = 0.4 if scene.light.x > scene.width / 2 else 0.6
    at = (scene.width * (away + scene.chance.uniform(-0.08, 0.08)), level + 0.09)
    sails = [shapes.placed(s, at, size) for s in (shapes.MAINSAIL, shapes.FORESAIL)]
    scene.add(sails, palette.light, mixed(palette.light, palette.accent, 0.55))
    scene.add([shapes.placed(shapes.BOAT, at, size)], palette.near, palette.near)


def _lighthouse(scene: Scene) -> None:
    if not scene.names("lighthouse", "coast", "harbour", "harbor"):
        return
    palette, size = scene.palette, scene.unit * 0.52
    x = scene.width * (0.84 if scene.light.x < scene.width / 2 else 0.16)
    rock = [
        (px * scene.unit * 0.42 + x, 1.03 - max(0.0, 1 - abs(px)) ** 0.55 * 0.3)
        for px in (-1, -0.8, -0.55, -0.3, 0, 0.3, 0.55, 0.8, 1)
    ]
    at = (x, 0.75)
    tower = shapes.placed(shapes.LIGHTHOUSE, at, size)
    scene.add(
        [tower], mixed(palette.light, palette.horizon, 0.3), mixed(palette.light, palette.far, 0.5)
    )
    bands = [shapes.placed(shapes.band(part), at, size) for part in (0.12, 0.4, 0.66)]
    scene.add(bands, palette.accent, mixed(palette.accent, palette.near, 0.3))
    roof = [shapes.placed(s, at, size) for s in (shapes.LANTERN_CAP, shapes.LANTERN_ROOF)]
    scene.add(roof, palette.near, palette.near)
    scene.add([shapes.placed(shapes.LANTERN, at, size)], palette.light, palette.accent)
    scene.add([shapes.grounded(rock)], mixed(palette.near, palette.far, 0.25), palette.near)


def _city(scene: Scene) -> None:
    chance, palette = scene.chance, scene.palette
    for k in range(4):
        houses, lit = _street(chance, scene.width, 0.42 + 0.13 * k, 0.3 - 0.05 * k)
        tone = palette.depth(0.1 + 0.3 * k)
        scene.add(houses, tone, mixed(tone, palette.horizon, 0.6 - 0.2 * k))
        if k:
            scene.add(lit, palette.light, palette.accent, 0.25 + 0.25 * k)


def _street(
    chance: random.Random, width: float, level: float, rise: float
) -> tuple[list[Outline], list[Outline]]:
    houses, lit, x = [], [], -0.03
    while x < width:
        across = chance.uniform(0.045, 0.115)
        top = level + chance.uniform(-rise, rise) * 0.6
        houses.append(shapes.box(x, top, x + across, shapes.GROUND))
        if chance.random() < 0.3:
            mast = x + across / 2
            houses.append(shapes.box(mast - 0.002, top - 0.07, mast + 0.002, top))
        lit += _windows(chance, x, top, across)
        x += across * chance.uniform(0.85, 1.25)
    return houses, lit


def _windows(chance: random.Random, x: float, top: float, across: float) -> list[Outline]:
    columns = max(2, int(across / 0.019))
    pitch = across / columns
    return [
        shapes.box(
            x + pitch * (column + 0.28),
            top + 0.02 + 0.028 * row,
            x + pitch * (column + 0.72),
            top + 0.034 + 0.028 * row,
        )
        for row in range(9)
        for column in range(columns)
        if chance.random() < 0.3
    ]


def _desert(scene: Scene) -> None:
    chance, palette = scene.chance, scene.palette
    if scene.names("pyramid", "egypt"):
        for x, size in ((0.36, 0.3), (0.62, 0.42)):
            _pyramid(scene, scene.width * x, size * scene.unit)
    for k in range(5):
        skyline = shapes.swell(chance, scene.width, 0.6 + 0.09 * k, 0.045 + 0.012 * k)
        tone = palette.depth(0.08 + 0.2 * k)
        glowing = mixed(tone, palette.light, 0.35 - 0.06 * k)
        scene.add([shapes.grounded(skyline)], glowing, tone)
    if not scene.names("pyramid", "sea"):
        x = scene.width * (0.2 if scene.light.x > scene.width / 2 else 0.8)
        cactus = shapes.placed(shapes.CACTUS, (x, 0.97), scene.unit * 0.3)
        scene.add([cactus], palette.accent, palette.near)


def _pyramid(scene: Scene, x: float, size: float) -> None:
    palette, foot = scene.palette, 0.7
    shade = 0.25 if scene.light.x > x else -0.25
    scene.add(
        [[(x - size * 0.75, foot), (x, foot - size), (x + size * 0.75, foot)]],
        mixed(palette.far, palette.light, 0.5),
        palette.far,
    )
    edge = -0.75 if shade > 0 else 0.75
    dark = [[(x + size * edge, foot), (x, foot - size), (x - size * shade * 0.6, foot)]]
    scene.add(dark, mixed(palette.far, palette.near, 0.45), mixed(palette.far, palette.near, 0.3))


def _space(scene: Scene) -> None:
    chance, palette, unit = scene.chance, scene.palette, scene.unit
    x = scene.width - scene.light.x
    y, radius = chance.uniform(0.3, 0.42), unit * chance.uniform(0.15, 0.2)
    ring = [shapes.oval(x, y, radius * 1.75, radius * 0.42, -0.35)]
    glow = mixed(palette.accent, palette.light, 0.35)
    scene.add([shapes.half_ring(ring[0], upper=True)], glow, palette.accent, 0.8)
    scene.add([shapes.disc(x, y, radius)], mixed(glow, palette.horizon, 0.4), palette.zenith)
    scene.add([shapes.half_ring(ring[0], upper=False)], palette.light, palette.accent, 0.85)
    for k in range(3):
        skyline = shapes.ridge(chance, scene.width, 0.76 + 0.09 * k, 0.2 - 0.05 * k, 0.55)
        tone = palette.depth(0.2 + 0.35 * k)
        scene.add([shapes.grounded(skyline)], tone, mixed(tone, palette.near, 0.3))
    if scene.names("rocket", "astronaut", "ship", "spaceship"):
        at = (scene.width * (0.5 + (scene.light.x / scene.width - 0.5) * 0.45), 0.66)
        size = unit * 0.3
        scene.add([shapes.placed(shapes.FLAME, at, size)], palette.light, palette.accent)
        scene.add(
            [shapes.placed(shapes.ROCKET, at, size)],
            palette.light,
            mixed(palette.light, palette.far, 0.6),
        )


def _meadow(scene: Scene) -> None:
    chance, palette, unit = scene.chance, scene.palette, scene.unit
    for k in range(4):
        skyline = shapes.swell(chance, scene.width, 0.56 + 0.1 * k, 0.05)
        tone = palette.depth(0.05 + 0.24 * k)
        scene.add([shapes.grounded(skyline)], mixed(tone, palette.light, 0.25), tone)
        if k == 1:
            x = scene.width * (0.25 if scene.light.x > scene.width / 2 else 0.75)
            tree = shapes.lone_tree(chance, x, shapes.height_at(skyline, x), unit * 0.27)
            scene.add(tree, palette.depth(0.45), palette.depth(0.85))
    if scene.names("cat", "fox", "dog", "rabbit"):
        scene.add(shapes.cat(scene.width * 0.5, 0.93, unit * 0.34), palette.near, palette.near)
    _flowers(scene)


def _flowers(scene: Scene) -> None:
    chance, palette = scene.chance, scene.palette
    kinds = [palette.accent, mixed(palette.accent, palette.light, 0.6), palette.light]
    count = round(15 * min(max(0.6, scene.width), 4.0))
    flowers = [
        shapes.flower(
            chance,
            x=chance.uniform(0, scene.width),
            y=chance.uniform(0.74, 0.95),
            size=scene.unit * chance.uniform(0.022, 0.045),
        )
        for _ in range(count)
    ]
    scene.add(
        chain.from_iterable(green for green, _, _ in flowers), palette.depth(0.75), palette.near
    )
    for k, kind in enumerate(kinds):
        petals = chain.from_iterable(petals for _, petals, _ in flowers[k::3])
        scene.add(petals, mixed(kind, palette.light, 0.25), kind)
    hearts = [heart for _, _, heart in flowers]
    scene.add(hearts, palette.near, mixed(palette.accent, palette.near, 0.6))


COMPOSITIONS: dict[str, Callable[[Scene], None]] = {
    "mountains": _mountains,
    "forest": _forest,
    "sea": _sea,
    "city": _city,
    "desert": _desert,
    "space": _space,
    "meadow": _meadow,
}

"""The scene of a sketch: which composition the words of a prompt ask for, its sky and its air."""

from __future__ import annotations

import random
import re

from infrastructure.providers import sketch_shapes as shapes
from infrastructure.providers.sketch_compositions import COMPOSITIONS, Light, Scene
from infrastructure.providers.sketch_palettes import Palette, mixed
from infrastructure.providers.sketch_shapes import Outline

# The first of these that the prompt names is painted.
THEMES = {
    "sea": "sea ocean beach wave harbour harbor lake island boat ship sail sailboat lighthouse "
    "fish whale river coast water fisherman pirate",
    "city": "city town street skyline building tower tokyo york paris london berlin robot car "
    "neon office train bridge cyberpunk",
    "space": "space planet galaxy rocket astronaut mars alien universe nebula cosmos comet",
    "desert": "desert dune sand camel pyramid canyon cactus",
    "forest": "forest wood cabin fox bear deer owl jungle path fir pine wolf",
    "meadow": "flower garden meadow hill valley cat dog rabbit bee butterfly field farm tea "
    "teapot fruit apple portrait woman man child bicycle horse",
    "mountains": "mountain alp peak landscape glacier volcano eagle dragon castle snow",
}


def words_of(prompt: str, negative_prompt: str) -> frozenset[str]:
    """The words that the composition may use, in the singular."""
    return _singular(prompt) - _singular(negative_prompt)


def _singular(text: str) -> frozenset[str]:
    found = re.findall(r"[a-z]+", text.lower())
    return frozenset(found) | {word[:-1] for word in found if word.endswith("s")}


def compose(
    words: frozenset[str],
    chance: random.Random,
    width: float,
    palette: Palette,
    *,
    pinned: bool = False,
) -> Scene:
    """The composition for these words; `width` is in heights of the picture.

    With something `pinned` to its upper right corner the light stands on the left.
    """
    themes = [theme for theme, named in THEMES.items() if not words.isdisjoint(named.split())]
    theme = themes[0] if themes else chance.choice(sorted(THEMES))
    unit = min(1.0, width)
    left = chance.random() < 0.5 or pinned
    light = Light(
        x=width * (chance.uniform(0.18, 0.4) if left else chance.uniform(0.6, 0.82)),
        y=chance.uniform(0.2, 0.36),
        radius=unit * chance.uniform(0.055, 0.09),
    )
    scene = Scene(words, chance, width, palette, light)
    _sky(scene, starry=palette.dark or theme == "space")
    COMPOSITIONS[theme](scene)
    _air(scene)
    return scene


def _sky(scene: Scene, *, starry: bool) -> None:
    light, shine = scene.light, scene.palette.light
    if starry:
        stars = _specks(scene, 90, lowest=0.55, smallest=0.0014, largest=0.0034)
        scene.add(stars, shine, shine, 0.8)
    scene.add([shapes.disc(light.x, light.y, light.radius)], shine, shine)
    if not starry or scene.chance.random() < 0.3:
        for _ in range(scene.chance.randint(2, 4)):
            _cloud(scene)


def _cloud(scene: Scene) -> None:
    chance = scene.chance
    x, y = chance.uniform(0, scene.width), chance.uniform(0.08, 0.42)
    puffs = []
    for _ in range(6):
        across = scene.unit * chance.uniform(0.05, 0.14)
        dx, dy = chance.uniform(-0.16, 0.16), chance.uniform(-0.014, 0.014)
        puffs.append(shapes.oval(x + dx * scene.unit, y + dy, across, across * 0.13))
    scene.add(puffs, mixed(scene.palette.light, scene.palette.sky, 0.2), scene.palette.sky, 0.5)


def _air(scene: Scene) -> None:
    if scene.names("balloon"):
        _balloon(scene)
    if scene.names("bird", "eagle", "gull") or (not scene.palette.dark and _likely(scene)):
        _birds(scene)
    if scene.names("snow", "snowy", "snowfall", "winter"):
        _snow(scene)
    if scene.names("rain", "rainy", "storm"):
        _rain(scene)


def _likely(scene: Scene) -> bool:
    return scene.chance.random() < 0.7


def _balloon(scene: Scene) -> None:
    palette = scene.palette
    whole, stripes = shapes.balloon(scene.width * 0.5, 0.5, scene.unit * 0.36)
    scene.add(whole, palette.accent, mixed(palette.accent, palette.near, 0.45))
    scene.add(stripes, palette.light, mixed(palette.light, palette.accent, 0.4), 0.85)


def _birds(scene: Scene) -> None:
    chance, tone = scene.chance, scene.palette.near
    x, y = scene.width * chance.uniform(0.3, 0.6), chance.uniform(0.12, 0.3)
    scene.add(shapes.birds(chance, x, y, scene.unit * 0.017), tone, tone, 0.8)


def _snow(scene: Scene) -> None:
    flakes = _specks(scene, 120, lowest=1.0, smallest=0.002, largest=0.007)
    scene.add(flakes, scene.palette.light, scene.palette.light, 0.85)


def _rain(scene: Scene) -> None:
    drops = [shapes.drop(scene.chance, scene.width, scene.unit) for _ in range(130)]
    scene.add(drops, scene.palette.light, scene.palette.light, 0.35)


def _specks(
    scene: Scene, count: int, *, lowest: float, smallest: float, largest: float
) -> list[Outline]:
    chance, unit = scene.chance, scene.unit
    return [
        shapes.speck(
            chance.uniform(0, scene.width),
            chance.uniform(0, lowest),
            unit * chance.uniform(smallest, largest),
        )
        for _ in range(count)
    ]

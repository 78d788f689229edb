"""The scene of a sketch: which composition the words of a prompt ask for, its sky and its air."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from infrastructure.providers.sketches import figures, shapes
from infrastructure.providers.sketches.abstracts import abstract
from infrastructure.providers.sketches.figures import placed_all
from infrastructure.providers.sketches.interiors import still_life, window
from infrastructure.providers.sketches.landscapes import desert, forest, meadow, mountains, space
from infrastructure.providers.sketches.layers import Light, Scene
from infrastructure.providers.sketches.palettes import Palette, mixed
from infrastructure.providers.sketches.portraits import portrait
from infrastructure.providers.sketches.shapes import Outline
from infrastructure.providers.sketches.towns import city, railway
from infrastructure.providers.sketches.waters import lake, sea

# The first of these that the prompt names is painted.
THEMES: dict[str, frozenset[str]] = {
    theme: frozenset(words.split())
    for theme, words in {
        "portrait": "portrait face selfie woman man girl boy child king queen lady gentleman",
        "still life": "stilllife teapot tea cup coffee bottle wine vase bouquet bowl fruit "
        "oranges apple pear lemon",
        "abstract": "abstract music jazz song symphony melody rhythm piano violin guitar geometry "
        "geometric bauhaus cubism cubist pattern emotion idea mathematics",
        "railway": "train railway locomotive viaduct",
        "space": "space planet galaxy rocket astronaut mars alien universe nebula cosmos comet",
        "lake": "lake river pond fjord mirror reflection reflected swan",
        "sea": "sea ocean beach wave harbour harbor island boat ship sail sailboat lighthouse "
        "fish whale coast water fisherman pirate",
        "city": "city town street skyline building tower tokyo york paris london berlin robot car "
        "neon office bridge cyberpunk",
        "desert": "desert dune sand camel pyramid canyon cactus",
        "forest": "forest wood cabin fox bear deer owl jungle path fir pine wolf",
        "meadow": "flower garden meadow hill cat dog rabbit bee butterfly field farm windmill "
        "wheat poppy rose bicycle horse window windowsill "
        "tree spring summer tulip",
        "mountains": "mountain alp peak landscape glacier volcano eagle dragon castle snow valley "
        "sky sunset sunrise",
    }.items()
}
COMPOSITIONS: dict[str, Callable[[Scene], None]] = {
    "portrait": portrait,
    "still life": still_life,
    "abstract": abstract,
    "railway": railway,
    "space": space,
    "lake": lake,
    "sea": sea,
    "city": city,
    "desert": desert,
    "forest": forest,
    "meadow": meadow,
    "mountains": mountains,
}
INDOORS = ("portrait", "still life", "abstract")
UNASKED = sorted(COMPOSITIONS.keys() - {"portrait", "still life"})


def words_of(prompt: str, negative_prompt: str) -> frozenset[str]:
    """The words that the composition may use, in the singular."""
    return _singular(prompt) - _singular(negative_prompt)


def _singular(text: str) -> frozenset[str]:
    spelled = re.sub("still[ -]life", "stilllife", text.lower())
    found = frozenset(re.findall(r"[a-z]+", spelled))
    plurals = {word for word in found if word.endswith("s")}
    foxes = {word[:-2] for word in plurals if word.endswith("es")}
    poppies = {word[:-3] + "y" for word in plurals if word.endswith("ies")}
    return found | {word[:-1] for word in plurals} | foxes | poppies


def compose(
    words: frozenset[str],
    chance: random.Random,
    width: float,
    palette: Palette,
    *,
    pinned: bool = False,
) -> Scene:
    """The composition for these words; `width` is in heights of the picture.

    With something `pinned` to its right half, light and main thing stand on the left.
    """
    themes = [theme for theme, named in THEMES.items() if not words.isdisjoint(named)]
    theme = themes[0] if themes else chance.choice(UNASKED)
    light, stand = _placed(chance, width, pinned=pinned)
    scene = Scene(words, chance, width, palette, light, stand)
    if theme in INDOORS:
        COMPOSITIONS[theme](scene)
        return scene
    _sky(scene, starry=palette.dark or theme == "space")
    COMPOSITIONS[theme](scene)
    _air(scene, birds=theme != "space" and not palette.dark)
    return scene


def _placed(chance: random.Random, width: float, *, pinned: bool) -> tuple[Light, float]:
    """The light on one side, and where on the other the main thing stands."""
    left = chance.random() < 0.5
    reach = (0.34, 0.42) if pinned else (0.2, 0.4) if left else (0.6, 0.8)
    light = Light(
        x=width * chance.uniform(*reach),
        y=chance.uniform(0.2, 0.36),
        radius=min(1.0, width) * chance.uniform(0.05, 0.085),
    )
    aside = chance.uniform(0.14, 0.24)
    return light, 1 - aside if left and not pinned else aside


def _sky(scene: Scene, *, starry: bool) -> None:
    light, shine = scene.light, scene.palette.light
    if starry:
        stars = _specks(scene, 90, lowest=0.55, smallest=0.0014, largest=0.0034)
        scene.add(stars, shine, opacity=0.8)
    halo = shapes.disc(light.x, light.y, light.radius * 1.5)
    scene.add([halo], shine, opacity=0.14)
    scene.add([shapes.disc(light.x, light.y, light.radius)], shine)
    for _ in range(scene.chance.randint(2, 3) if not starry else scene.chance.randint(0, 2)):
        _cloud(scene)


def _cloud(scene: Scene) -> None:
    """A heap of puffs on a flat foot that dissolves, beside the light."""
    chance, unit, palette = scene.chance, scene.unit, scene.palette
    size = unit * chance.uniform(0.09, 0.2)
    y = chance.uniform(0.1, 0.44)
    x = (scene.light.x + scene.width * chance.uniform(0.25, 0.75)) % scene.width
    puffs = [shapes.arch(x, y, size * 1.5, size * 0.12)]
    for k in range(-2, 3):
        radius = size * (0.5 - 0.12 * abs(k)) * chance.uniform(0.75, 1.1)
        puffs.append(shapes.arch(x + k * size * 0.45, y, radius * 1.25, radius))
    lit = mixed(palette.light, palette.horizon, 0.25)
    scene.add(puffs, lit, mixed(lit, palette.sky, 0.5), opacity=0.8, foot=0.1)


def _air(scene: Scene, *, birds: bool) -> None:
    if scene.names("balloon"):
        _balloon(scene)
    if scene.names("bird", "eagle", "gull") or (birds and _likely(scene)):
        _birds(scene)
    if scene.names("snow", "snowy", "snowfall", "winter"):
        _snow(scene)
    if scene.names("rain", "rainy", "storm"):
        _rain(scene)
    if scene.names("fog", "foggy", "mist", "misty", "haze"):
        scene.mist(0.25, shapes.GROUND, 0.45)
    if scene.names("window", "windowsill"):
        window(scene)


def _likely(scene: Scene) -> bool:
    return scene.chance.random() < 0.7


def _balloon(scene: Scene) -> None:
    palette, at, size = scene.palette, (scene.width * 0.5, 0.5), scene.unit * 0.36
    whole, stripes = figures.balloon()
    dark = mixed(palette.accent, palette.near, 0.45)
    scene.add(placed_all(whole, at, size), palette.accent, dark, shade=scene.lit)
    pale = mixed(palette.light, palette.accent, 0.4)
    scene.add(placed_all(stripes, at, size), palette.light, pale, opacity=0.75)


def _birds(scene: Scene) -> None:
    chance, tone = scene.chance, scene.palette.near
    x, y = scene.width * chance.uniform(0.3, 0.6), chance.uniform(0.12, 0.3)
    scene.add(shapes.birds(chance, x, y, scene.unit * 0.017), tone, opacity=0.8)


def _snow(scene: Scene) -> None:
    flakes = _specks(scene, 120, lowest=1.0, smallest=0.002, largest=0.006)
    scene.add(flakes, scene.palette.light, opacity=0.85)


def _rain(scene: Scene) -> None:
    drops = [shapes.drop(scene.chance, scene.width, scene.unit) for _ in range(110)]
    scene.add(drops, scene.palette.light, opacity=0.3)


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

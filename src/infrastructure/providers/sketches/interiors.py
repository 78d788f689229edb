"""Indoors: a still life on a table, a portrait."""

from __future__ import annotations

import math
from collections.abc import Callable

from infrastructure.providers.sketches import figures, shapes
from infrastructure.providers.sketches.figures import placed_all
from infrastructure.providers.sketches.layers import Scene
from infrastructure.providers.sketches.palettes import Colour, colour, mixed

TABLE = 0.72
MOST_THINGS, NARROW = 5, 0.8


def still_life(scene: Scene) -> None:
    """Things on a table, in the light of a window that is not in the picture."""
    palette, width = scene.palette, scene.width
    wall = mixed(palette.sky, palette.horizon, 0.5)
    scene.add([shapes.box(-0.02, -0.02, width + 0.02, 1.02)], wall, mixed(wall, palette.far, 0.55))
    for k in range(2):
        x = width * (0.12 + 0.3 * k)
        pane = [(x, -0.02), (x + width * 0.24, -0.02), (x + width * 0.5, TABLE)]
        scene.add([[*pane, (x + width * 0.26, TABLE)]], palette.light, opacity=0.5, foot=0.12)
    wood = mixed(palette.near, palette.accent, 0.22)
    scene.add(
        [shapes.box(-0.02, TABLE, width + 0.02, 1.02)], mixed(wood, palette.light, 0.35), wood
    )
    edge = shapes.box(-0.02, TABLE, width + 0.02, TABLE + 0.008)
    scene.add([edge], palette.light, opacity=0.35)
    _set_the_table(scene)


def window(scene: Scene) -> None:
    """A window before the scene so far, and a cat on its sill when the prompt names one."""
    palette, width, unit = scene.palette, scene.width, scene.unit
    wall, wood = mixed(palette.near, palette.far, 0.3), mixed(palette.light, palette.horizon, 0.4)
    left, top, right, sill = unit * 0.09, unit * 0.063, width - unit * 0.09, 0.84
    around = [
        shapes.box(-0.02, -0.02, left, 1.02),
        shapes.box(right, -0.02, width + 0.02, 1.02),
        shapes.box(-0.02, -0.02, width + 0.02, top),
        shapes.box(-0.02, sill, width + 0.02, 1.02),
    ]
    scene.add(around, wall, mixed(wall, palette.near, 0.6))
    middle, bar = width / 2, unit * 0.012
    bars = [
        shapes.box(middle - bar, top, middle + bar, sill),
        shapes.box(left, 0.4 - bar, right, 0.4 + bar),
        shapes.box(left, top, left + bar * 2, sill),
        shapes.box(right - bar * 2, top, right, sill),
        shapes.box(left, top, right, top + bar * 2),
    ]
    scene.add(bars, wood, mixed(wood, palette.near, 0.25))
    ledge = shapes.box(left * 0.5, sill, width - left * 0.5, sill + 0.035)
    scene.add([ledge], palette.light, mixed(wood, palette.near, 0.3))
    if scene.names("cat"):
        at = (width * (0.66 if scene.stand < 0.5 else 0.34), sill + 0.005)
        scene.add(placed_all(figures.cat(), at, unit * 0.4), wall, palette.near)


def _set_the_table(scene: Scene) -> None:
    chance = scene.chance
    named = [thing for word, thing in THINGS.items() if scene.names(word)]
    most = MOST_THINGS if scene.width > NARROW else 2
    wanted = min(max(3, len(set(named))), most)
    chosen = list(dict.fromkeys([*named, _bottle, _fruit_bowl, _vase]))[:wanted]
    chance.shuffle(chosen)
    size = min(0.46, scene.width / len(chosen) * 0.95)
    for k, thing in enumerate(chosen):
        x = scene.width * 0.5 + (k - (len(chosen) - 1) / 2) * size * 0.86
        foot = TABLE + 0.09 + chance.uniform(-0.03, 0.04)
        _shadow(scene, x, foot, size)
        thing(scene, x, foot, size)
    for _ in range(2):
        x = scene.width * chance.uniform(0.22, 0.78)
        _fruit(scene, x, 0.9 + chance.uniform(0, 0.03), size * 0.19)


def _shadow(scene: Scene, x: float, foot: float, size: float) -> None:
    shade = shapes.oval(x + size * 0.16, foot - size * 0.01, size * 0.36, size * 0.05)
    scene.add([shade], scene.palette.near, opacity=0.35)


def _glaze(scene: Scene) -> tuple[Colour, Colour]:
    """The lit and the shaded colour of the next piece of pottery."""
    palette = scene.palette
    tone = scene.chance.choice((palette.zenith, palette.far, palette.light, palette.accent))
    return mixed(tone, palette.light, 0.45), mixed(tone, palette.near, 0.55)


def _bottle(scene: Scene, x: float, foot: float, size: float) -> None:
    palette, at, size = scene.palette, (x, foot), size * 1.12
    glass = mixed(palette.zenith, palette.near, 0.35)
    bright, dark = mixed(glass, palette.light, 0.4), mixed(glass, palette.near, 0.75)
    scene.add([shapes.placed(figures.BOTTLE, at, size)], bright, dark, shade="across")
    scene.add([shapes.placed(figures.BOTTLE_LABEL, at, size)], palette.light, palette.horizon)
    gleam = shapes.box(-0.09, -0.58, -0.065, -0.08)
    scene.add([shapes.placed(gleam, at, size)], palette.light, opacity=0.45)


def _vase(scene: Scene, x: float, foot: float, size: float) -> None:
    chance, palette = scene.chance, scene.palette
    mouth = (x, foot - size * 0.6)
    heads = [
        (x + size * across, foot - size * up * chance.uniform(0.9, 1.1))
        for across, up in ((-0.3, 1.05), (-0.12, 1.3), (0.12, 1.2), (0.32, 1.0), (0.0, 0.98))
    ]
    stems = [shapes.line(mouth, head, size * 0.018) for head in heads]
    leaves = [shapes.oval(hx, hy + size * 0.2, size * 0.1, size * 0.03, 0.9) for hx, hy in heads]
    scene.add([*stems, *leaves], palette.depth(0.6), palette.near)
    for head in heads:
        bloom = shapes.disc(*head, size * chance.uniform(0.1, 0.14))
        tone = mixed(palette.accent, palette.light, chance.choice((0.0, 0.3, 0.6)))
        scene.add(
            [bloom],
            mixed(tone, palette.light, 0.4),
            mixed(tone, palette.near, 0.25),
            shade="lit_left",
        )
    bright, dark = _glaze(scene)
    scene.add([shapes.placed(figures.VASE, (x, foot), size)], bright, dark, shade="lit_left")


def _fruit_bowl(scene: Scene, x: float, foot: float, size: float) -> None:
    for across, up in ((-0.2, 0.44), (0.2, 0.45), (0.0, 0.42), (0.02, 0.6)):
        _fruit(scene, x + size * across, foot - size * up + size * 0.17, size * 0.17)
    at = (x, foot)
    bright, dark = _glaze(scene)
    scene.add(
        placed_all([figures.BOWL, figures.BOWL_FOOT], at, size), bright, dark, shade="lit_left"
    )


def _fruit(scene: Scene, x: float, foot: float, radius: float) -> None:
    palette = scene.palette
    tone = mixed(colour("d96b32"), palette.accent, 0.3)
    stem = mixed(palette.near, palette.far, 0.3)
    if scene.names("oranges", "orange"):
        tone = colour("f08a24")
    elif scene.names("lemon"):
        tone = colour("f2c230")
    elif scene.names("apple", "cherry"):
        tone = colour("b8322b")
    lit, dark = mixed(tone, palette.light, 0.4), mixed(tone, palette.near, 0.5)
    scene.add(
        [shapes.oval(x + radius * 0.3, foot, radius, radius * 0.16)], palette.near, opacity=0.3
    )
    if scene.names("pear"):
        lit, dark = colour("e3d06a"), mixed(colour("7d8a34"), palette.near, 0.3)
        scene.add(placed_all([figures.PEAR], (x, foot), radius * 2.6), lit, dark, shade="lit_left")
        scene.add(placed_all([figures.PEAR_STEM], (x, foot), radius * 2.6), stem)
        return
    scene.add([shapes.disc(x, foot - radius, radius)], lit, dark, shade="lit_left")
    leaf = shapes.oval(x + radius * 0.3, foot - radius * 1.95, radius * 0.32, radius * 0.12, -0.4)
    scene.add([leaf], palette.depth(0.5))


def _teapot(scene: Scene, x: float, foot: float, size: float) -> None:
    bright, dark = _glaze(scene)
    at = (x, foot)
    scene.add(placed_all([figures.TEAPOT_HANDLE, figures.TEAPOT_SPOUT], at, size), bright, dark)
    scene.add(placed_all(figures.TEAPOT, at, size), bright, dark, shade="lit_left")
    scene.add(placed_all(figures.TEAPOT_LID, at, size), bright, dark)
    _steam(scene, x + size * 0.62, foot - size * 0.72, size)


def _cup(scene: Scene, x: float, foot: float, size: float) -> None:
    bright, dark = _glaze(scene)
    at, size = (x, foot), size * 0.75
    scene.add(placed_all([figures.CUP_HANDLE], at, size), bright, dark)
    scene.add(placed_all([figures.CUP], at, size), bright, dark, shade="lit_left")
    scene.add([shapes.oval(x, foot - size * 0.48, size * 0.33, size * 0.05)], scene.palette.near)
    _steam(scene, x, foot - size * 0.5, size)


def _steam(scene: Scene, x: float, foot: float, size: float) -> None:
    for away, high in ((-0.06, 0.42), (0.05, 0.56)):
        path = [
            (
                x + size * (away + 0.035 * math.sin(k * 0.75 + away * 20)),
                foot - size * high * k / 12,
            )
            for k in range(13)
        ]
        wisp = [*path, *((px + size * 0.035, py) for px, py in reversed(path))]
        scene.add([wisp], scene.palette.light, opacity=0.0, foot=0.5)


THINGS: dict[str, Callable[[Scene, float, float, float], None]] = {
    "teapot": _teapot,
    "tea": _teapot,
    "cup": _cup,
    "coffee": _cup,
    "bottle": _bottle,
    "wine": _bottle,
    "vase": _vase,
    "bouquet": _vase,
    "tulip": _vase,
    "bowl": _fruit_bowl,
    "fruit": _fruit_bowl,
    "oranges": _fruit_bowl,
    "apple": _fruit_bowl,
    "pear": _fruit_bowl,
    "lemon": _fruit_bowl,
}

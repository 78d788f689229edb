"""An abstract composition: discs, arcs and bars that overlap, and a staff when it is music."""

from __future__ import annotations

import math

from infrastructure.providers.sketches import shapes
from infrastructure.providers.sketches.layers import Scene
from infrastructure.providers.sketches.palettes import Colour, mixed

MUSIC = ("music", "jazz", "song", "symphony", "melody", "piano", "violin", "guitar", "rhythm")


def abstract(scene: Scene) -> None:
    """Large and light things first, small and strong ones over them."""
    palette, width = scene.palette, scene.width
    ground = mixed(palette.horizon, palette.light, 0.45)
    scene.add(
        [shapes.box(-0.02, -0.02, width + 0.02, 1.02)], ground, mixed(ground, palette.sky, 0.4)
    )
    _bars(scene)
    _discs(scene)
    _arcs(scene)
    if scene.names(*MUSIC):
        _staff(scene)
    _sparks(scene)


def _colours(scene: Scene) -> list[Colour]:
    palette = scene.palette
    tones = [palette.accent, palette.zenith, palette.far, palette.near, palette.sky]
    scene.chance.shuffle(tones)
    return tones


def _bars(scene: Scene) -> None:
    chance, unit = scene.chance, scene.unit
    lean = chance.uniform(-0.5, 0.5)
    for k, tone in enumerate(_colours(scene)[:4]):
        x = scene.width * (0.14 + 0.22 * k + chance.uniform(-0.05, 0.05))
        high = chance.uniform(0.5, 1.1)
        start = (x - lean * high / 2, 0.5 - high / 2)
        end = (x + lean * high / 2, 0.5 + high / 2)
        bar = shapes.line(start, end, unit * chance.uniform(0.04, 0.16))
        scene.add([bar], mixed(tone, scene.palette.light, 0.3), tone, opacity=0.55)


def _discs(scene: Scene) -> None:
    chance, palette, unit = scene.chance, scene.palette, scene.unit
    x, y = scene.width * chance.uniform(0.36, 0.64), chance.uniform(0.36, 0.6)
    main = unit * chance.uniform(0.22, 0.28)
    scene.add(
        [shapes.great_disc(x, y, main)], palette.accent, mixed(palette.accent, palette.near, 0.3)
    )
    for k, tone in enumerate(_colours(scene)):
        angle = chance.uniform(0, 0.9) + 2 * math.pi * k / 5
        radius = main * chance.uniform(0.22, 0.62)
        reach = main * chance.uniform(0.85, 1.35)
        disc = shapes.disc(x + reach * math.cos(angle), y + reach * math.sin(angle), radius)
        scene.add([disc], tone, mixed(tone, palette.light, 0.35), shade="across", opacity=0.72)
    scene.add([shapes.disc(x, y, main * 0.3)], palette.near)
    scene.add([shapes.disc(x, y, main * 0.12)], palette.light)


def _arcs(scene: Scene) -> None:
    chance, unit = scene.chance, scene.unit
    for _ in range(2):
        x, y = scene.width * chance.uniform(0.1, 0.9), chance.uniform(0.15, 0.85)
        start = chance.uniform(0, 2 * math.pi)
        for k, tone in enumerate(_colours(scene)[:4]):
            radius = unit * (0.1 + 0.045 * k)
            bow = shapes.arc(x, y, radius, unit * 0.02, start, start + math.pi * (1.2 - 0.15 * k))
            scene.add([bow], tone, opacity=0.9)


def _staff(scene: Scene) -> None:
    """Five lines that swing through the picture, with notes on them."""
    chance, palette, width, unit = scene.chance, scene.palette, scene.width, scene.unit
    swing, pitch = chance.uniform(0.05, 0.09), 0.03 * unit

    def height(x: float) -> float:
        return 0.55 + swing * math.sin(x / width * 5.2 + 0.6)

    steps = [width * (k / 40 * 1.04 - 0.02) for k in range(41)]
    for k in range(5):
        upper = [(x, height(x) + pitch * (k - 2)) for x in steps]
        scene.add([[*upper, *((x, y + 0.004) for x, y in reversed(upper))]], palette.near)
    for k in range(6):
        x = width * (0.12 + 0.15 * k + chance.uniform(-0.03, 0.03))
        y = height(x) + pitch * chance.randint(-2, 2)
        head = shapes.oval(x, y, pitch * 0.62, pitch * 0.44, -0.4)
        stem = shapes.line((x + pitch * 0.55, y), (x + pitch * 0.55, y - pitch * 3.4), 0.006 * unit)
        flag = [(x + pitch * 0.5, y - pitch * 3.4), (x + pitch * 1.5, y - pitch * 2.3)]
        scene.add([head, stem, [*flag, (x + pitch * 0.5, y - pitch * 2.6)]], palette.near)


def _sparks(scene: Scene) -> None:
    chance = scene.chance
    for tone in (scene.palette.near, scene.palette.accent):
        dots = [
            shapes.disc(
                chance.uniform(0, scene.width),
                chance.random(),
                scene.unit * chance.uniform(0.004, 0.014),
            )
            for _ in range(9)
        ]
        scene.add(dots, tone)

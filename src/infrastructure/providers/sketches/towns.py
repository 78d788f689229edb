"""What people built: a city, the bridge before it, a railway through the mountains."""

from __future__ import annotations

import random
from itertools import pairwise

from infrastructure.providers.sketches import figures, shapes
from infrastructure.providers.sketches.figures import placed_all
from infrastructure.providers.sketches.landscapes import firs, ranges
from infrastructure.providers.sketches.layers import Mirror, Scene
from infrastructure.providers.sketches.palettes import mixed
from infrastructure.providers.sketches.shapes import Outline

QUAY = 0.84  # where the city ends and its river, or its wet street, begins
WINDOW_WIDE, WINDOW_HIGH = 0.022, 0.032


def city(scene: Scene) -> None:
    """Houses behind houses, mirrored in a river or a wet street."""
    chance, palette = scene.chance, scene.palette
    glow = mixed(palette.light, palette.accent, 0.35)
    for k in range(3):
        houses, lit = _street(chance, scene.width, 0.42 + 0.13 * k, 0.3 - 0.06 * k)
        tone = palette.depth(0.12 + 0.38 * k)
        scene.add(houses, tone, mixed(tone, palette.horizon, 0.55 - 0.2 * k))
        if k:
            scene.add(lit, glow, palette.accent, opacity=0.3 + 0.25 * k)
        scene.mist(QUAY - 0.3 + 0.05 * k, QUAY, 0.45 - 0.15 * k)
    if scene.names("bridge"):
        _bridge(scene)
    near = mixed(palette.near, palette.zenith, 0.35)
    scene.layers.append(Mirror(QUAY, near=near, far=mixed(palette.horizon, palette.near, 0.35)))
    _gleams(scene)


def _street(
    chance: random.Random, width: float, level: float, rise: float
) -> tuple[list[Outline], list[Outline]]:
    houses, lit, x = [], [], -0.03
    while x < width:
        across = chance.uniform(0.06, 0.13)
        top = level + chance.uniform(-rise, rise) * 0.6
        houses.append(shapes.box(x, top, x + across, QUAY))
        houses += _crown(chance, x, top, across)
        lit += _windows(chance, x, top, across)
        x += across * chance.uniform(0.9, 1.2)
    return houses, lit


def _crown(chance: random.Random, x: float, top: float, across: float) -> list[Outline]:
    """What a house has on its roof: nothing, a smaller storey with a mast, or a slant."""
    kind, middle = chance.random(), x + across / 2
    if kind < 0.35:
        storey = shapes.box(x + across * 0.22, top - 0.03, x + across * 0.78, top + 0.01)
        return [storey, shapes.box(middle - 0.002, top - 0.1, middle + 0.002, top)]
    if kind < 0.55:
        return [[(x, top + 0.002), (x + across, top - across * 0.4), (x + across, top + 0.002)]]
    return []


def _windows(chance: random.Random, x: float, top: float, across: float) -> list[Outline]:
    columns = max(2, int(across / WINDOW_WIDE))
    pitch = across / columns
    rows = min(10, int((QUAY - top) / WINDOW_HIGH) - 1)
    return [
        shapes.box(
            x + pitch * (column + 0.28),
            top + 0.02 + WINDOW_HIGH * row,
            x + pitch * (column + 0.72),
            top + 0.037 + WINDOW_HIGH * row,
        )
        for row in range(rows)
        for column in range(columns)
        if chance.random() < 0.26
    ]


def _gleams(scene: Scene) -> None:
    """Lights that the water draws long."""
    chance, palette = scene.chance, scene.palette
    gleams = []
    for _ in range(round(22 * min(scene.width, 4.0))):
        x, y = chance.uniform(0, scene.width), QUAY + chance.random() ** 2 * 0.09
        wide = chance.uniform(0.003, 0.007)
        gleams.append(shapes.oval(x, y + 0.03, wide, chance.uniform(0.015, 0.05)))
    scene.add(gleams, mixed(palette.light, palette.accent, 0.5), opacity=0.5, foot=0.1)
    streaks = [
        shapes.oval(chance.uniform(0, scene.width), chance.uniform(QUAY, 1), 0.09, 0.0016)
        for _ in range(12)
    ]
    scene.add(streaks, palette.horizon, opacity=0.35)


def _bridge(scene: Scene) -> None:
    """A suspension bridge from edge to edge."""
    palette, width, deck = scene.palette, scene.width, 0.76
    piers = (width * 0.22, width * 0.78)
    high, span = min(0.4, width * 0.3), piers[1] - piers[0]
    steel = [shapes.box(-0.02, deck, width + 0.02, deck + 0.016)]
    steel += [shapes.box(x - 0.012, deck - high, x + 0.012, QUAY) for x in piers]
    cable = [(piers[0] + span * k / 24, deck - high * (k / 12 - 1) ** 2) for k in range(25)]
    outer = [(-span * 0.42, deck), *cable, (width + span * 0.42, deck)]
    steel += [shapes.line(start, end, 0.008) for start, end in pairwise(outer)]
    steel += [shapes.line((x, y), (x, deck), 0.003) for x, y in cable[1:-1]]
    scene.add(steel, mixed(palette.near, palette.accent, 0.3), palette.near)
    lamps = [shapes.speck(x, deck - 0.008, 0.006) for x, _ in cable[::3]]
    scene.add(lamps, palette.light)


def railway(scene: Scene) -> None:
    """A train on a viaduct through the mountains."""
    ranges(scene, count=4, first=0.44, step=0.08)
    palette, deck = scene.palette, 0.72
    valley = shapes.swell(scene.chance, scene.width, 0.9, 0.03)
    firs(scene, valley, 16, 0.11, palette.depth(0.7), mist=0.3)
    stone = mixed(palette.far, palette.near, 0.55)
    scene.add([_viaduct(scene.width, deck)], mixed(stone, palette.light, 0.3), stone)
    scene.mist(0.84, 1.0, 0.5)
    _train(scene, deck)
    firs(scene, shapes.swell(scene.chance, scene.width, 1.0, 0.02), 14, 0.16, palette.near)


def _viaduct(width: float, deck: float) -> Outline:
    arches = max(3, round(width / 0.17))
    span = width / arches
    under: Outline = []
    for k in reversed(range(arches)):
        middle = span * (k + 0.5)
        vault = shapes.arch(middle, deck + span * 0.55, span * 0.4, span * 0.4)
        under += [(middle + span * 0.4, 1.02), *vault, (middle - span * 0.4, 1.02)]
    return [(-0.02, deck), (width + 0.02, deck), (width + 0.02, 1.02), *under, (-0.02, 1.02)]


def _train(scene: Scene, deck: float) -> None:
    palette, size = scene.palette, min(scene.unit * 0.15, scene.width / 5)
    front = scene.width * 0.36
    smoke = [
        shapes.disc(
            front + size * (-0.8 + 0.34 * k),
            deck - size * (0.62 + 0.5 * k**0.55),
            size * (0.1 + 0.04 * k) * scene.chance.uniform(0.8, 1.2),
        )
        for k in range(12)
    ]
    scene.add(smoke, palette.light, opacity=0.85, foot=0.6)
    scene.add(placed_all([figures.LOCOMOTIVE, figures.FUNNEL], (front, deck), size), palette.near)
    wheels = [shapes.disc(front + size * x, deck - size * 0.07, size * 0.09) for x in (-0.8, -0.5)]
    scene.add(
        [*wheels, shapes.disc(front - size * 0.18, deck - size * 0.1, size * 0.12)], palette.near
    )
    for k in range(4):
        at = (front + size * 0.95 * k, deck)
        tone = mixed(palette.accent, palette.near, 0.25)
        scene.add(placed_all([figures.WAGON], at, size), tone, mixed(tone, palette.near, 0.4))
        scene.add(placed_all(figures.WAGON_WINDOWS, at, size), palette.light)

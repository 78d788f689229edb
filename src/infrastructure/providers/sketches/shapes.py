"""Outlines of single things, to compose sketches of.

Lengths are in heights of the picture: y runs from 0 (top) to 1, x from 0 to the aspect ratio.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]
Outline = list[Point]

GROUND = 1.02  # just below the lower edge
SQRT_HALF = math.sqrt(0.5)
CIRCLE = [(math.cos(k * math.pi / 16), math.sin(k * math.pi / 16)) for k in range(32)]


def oval(x: float, y: float, across: float, down: float, tilt: float = 0.0) -> Outline:
    """An ellipse with these half axes, tilted by an angle in radians."""
    if not tilt:
        return [(x + across * cos, y + down * sin) for cos, sin in CIRCLE]
    return turned([(across * cos, down * sin) for cos, sin in CIRCLE], (x, y), tilt)


def speck(x: float, y: float, radius: float) -> Outline:
    """A circle too small to see its corners; there are many of them, so it is spelled out."""
    near, far = radius * SQRT_HALF, radius
    return [
        (x + far, y),
        (x + near, y + near),
        (x, y + far),
        (x - near, y + near),
        (x - far, y),
        (x - near, y - near),
        (x, y - far),
        (x + near, y - near),
    ]


def disc(x: float, y: float, radius: float) -> Outline:
    """A circle."""
    return oval(x, y, radius, radius)


def great_disc(x: float, y: float, radius: float) -> Outline:
    """A circle so large that 32 corners would show."""
    angles = (k * math.pi / 64 for k in range(128))
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


def box(left: float, top: float, right: float, bottom: float) -> Outline:
    """A rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def arch(x: float, y: float, across: float, down: float) -> Outline:
    """The upper half of an ellipse, on its straight side."""
    return [(x + across * cos, y - down * sin) for cos, sin in CIRCLE[:17]]


def line(start: Point, end: Point, thick: float) -> Outline:
    """A stroke from one point to another."""
    (ax, ay), (bx, by) = start, end
    length = math.hypot(bx - ax, by - ay) or 1.0
    dx, dy = (by - ay) / length * thick / 2, (bx - ax) / length * thick / 2
    return [(ax - dx, ay + dy), (ax + dx, ay - dy), (bx + dx, by - dy), (bx - dx, by + dy)]


def arc(x: float, y: float, radius: float, thick: float, start: float, end: float) -> Outline:
    """A curved stroke around a point between two angles in radians, inwards of its radius."""
    angles = [start + (end - start) * k / 24 for k in range(25)]
    outer = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
    inner = radius - thick
    return outer + [(x + inner * math.cos(a), y + inner * math.sin(a)) for a in reversed(angles)]


def rounded(points: Sequence[Point], times: int = 2) -> Outline:
    """A closed outline with its corners cut off again and again."""
    for _ in range(times):
        following = [*points[1:], points[0]]
        points = [
            (ax + (bx - ax) * part, ay + (by - ay) * part)
            for (ax, ay), (bx, by) in zip(points, following, strict=True)
            for part in (0.25, 0.75)
        ]
    return list(points)


def mirrored(points: Sequence[Point]) -> Outline:
    """The same on the other side of x = 0."""
    return [(-x, y) for x, y in points]


def whole(left: Sequence[Point]) -> Outline:
    """A symmetrical outline from its left half, which runs from x = 0 to x = 0."""
    return [*left, *((-x, y) for x, y in reversed(left))]


def turned(points: Sequence[Point], at: Point, angle: float) -> Outline:
    """Points around the origin, turned by an angle in radians and moved."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(at[0] + x * cos - y * sin, at[1] + x * sin + y * cos) for x, y in points]


def placed(points: Sequence[Point], at: Point, size: float) -> Outline:
    """Points drawn in a square of 1 above the origin, scaled and set down at a place."""
    return [(at[0] + x * size, at[1] + y * size) for x, y in points]


def ridge(chance: random.Random, width: float, level: float, rise: float, rough: float) -> Outline:
    """A skyline of mountains by midpoint displacement: the smaller `rough`, the smoother."""
    heights = [
        chance.uniform(-0.5, 0.5) * rise for _ in range(max(4, round(min(width, 12.0) * 3) + 2))
    ]
    scale = rise * 0.5
    while len(heights) < 120 * max(1.0, min(width, 4.0)):
        scale *= rough
        between = [(a + b) / 2 + chance.uniform(-scale, scale) for a, b in pairwise(heights)]
        heights = [h for pair in zip(heights, between, strict=False) for h in pair] + heights[-1:]
    step = width * 1.04 / (len(heights) - 1)
    return [(k * step - width * 0.02, level - height) for k, height in enumerate(heights)]


def swell(chance: random.Random, width: float, level: float, rise: float) -> Outline:
    """A smooth skyline of hills, dunes or waves."""
    waves = [
        (rise / k, 2.4 * k * chance.uniform(0.8, 1.3), chance.uniform(0, 2 * math.pi))
        for k in (1, 2, 3)
    ]
    steps = (width * (k / 60 * 1.04 - 0.02) for k in range(61))
    return [
        (x, level - sum(a * math.sin(f * x + shift) for a, f, shift in waves) / 1.8) for x in steps
    ]


def grounded(skyline: Outline) -> Outline:
    """The land below a skyline."""
    return [*skyline, (skyline[-1][0], GROUND), (skyline[0][0], GROUND)]


def height_at(skyline: Outline, x: float) -> float:
    """Where a skyline is at some x."""
    first, last = skyline[0][0], skyline[-1][0]
    position = (x - first) / (last - first) * (len(skyline) - 1)
    return skyline[min(max(round(position), 0), len(skyline) - 1)][1]


def lit_slopes(chance: random.Random, skyline: Outline, light_x: float) -> list[Outline]:
    """The faces of peaks that the light falls on."""
    reach = max(4, len(skyline) // 20)
    heights = [y for _, y in skyline]
    slopes = []
    for k in range(reach, len(skyline) - reach):
        x, y = skyline[k]
        if y > min(heights[k - reach : k + reach + 1]):
            continue
        side = 1 if light_x > x else -1
        crest = [skyline[k + side * n] for n in range(reach + 1)]
        slopes.append([*crest, *_broken_edge(chance, crest)])
    return slopes


def _broken_edge(chance: random.Random, crest: Outline) -> Outline:
    """From the end of a crest down into the shade and back up to its peak, in a zigzag."""
    (top_x, top_y), (end_x, end_y) = crest[0], crest[-1]
    across, down = end_x - top_x, max(end_y - top_y, 0.01) * chance.uniform(1.2, 1.7)
    steps = ((0.62, 1.0), (0.5, 0.72), (0.3, 0.82), (0.22, 0.5), (-0.02, 0.62), (0.06, 0.3))
    return [(top_x + across * x, top_y + down * y * chance.uniform(0.85, 1.1)) for x, y in steps]


def fir(chance: random.Random, x: float, y: float, height: float) -> Outline:
    """A fir standing at a place."""
    half, tiers = height * chance.uniform(0.17, 0.24), 5
    left: Outline = [(x, y - height)]
    right: Outline = []
    for tier in range(1, tiers + 1):
        level = y - height * (1 - tier / tiers * 0.92)
        reach = half * tier / tiers * chance.uniform(0.85, 1.15)
        left += [(x - reach, level), (x - reach * 0.45, level - height * 0.02)]
        right += [(x + reach, level), (x + reach * 0.45, level - height * 0.02)]
    trunk = half * 0.12
    return [*left, (x - trunk, y), (x + trunk, y), *reversed(right)]


def lone_tree(chance: random.Random, x: float, y: float, height: float) -> list[Outline]:
    """A broad tree standing at a place."""
    trunk = placed([(-0.05, 0.03), (-0.02, -0.5), (0.02, -0.5), (0.05, 0.03)], (x, y), height)
    crowns = [
        disc(
            x + height * 0.27 * math.cos(k * 1.05) * chance.uniform(0.6, 1.1),
            y - height * (0.68 + 0.16 * math.sin(k * 1.05)),
            height * chance.uniform(0.15, 0.22),
        )
        for k in range(7)
    ]
    return [trunk, *crowns]


def birds(chance: random.Random, x: float, y: float, size: float) -> list[Outline]:
    """A flock of a few birds far away."""
    wing = [
        (-1.0, -0.35),
        (-0.45, -0.5),
        (0, 0),
        (0.45, -0.5),
        (1.0, -0.35),
        (0.4, -0.36),
        (0, 0.2),
    ]
    wing.append((-0.4, -0.36))
    return [
        turned(
            placed(wing, (0, 0), size * chance.uniform(0.6, 1.1)),
            (x + size * 3.4 * k * chance.uniform(0.6, 1), y + size * chance.uniform(-2.2, 2.2)),
            chance.uniform(-0.3, 0.3),
        )
        for k in range(5)
    ]


def flower(
    chance: random.Random, x: float, y: float, size: float
) -> tuple[list[Outline], list[Outline], Outline]:
    """Stem and leaves, petals, and the heart of a flower whose head is at a place."""
    lean = chance.uniform(-0.06, 0.06)
    stem = [(x - size * 0.06, y), (x + size * 0.06, y), (x + lean + size * 0.1, GROUND)]
    stem.append((x + lean - size * 0.1, GROUND))
    leaf = oval(x + lean * 0.5, y + size * 2.6, size * 0.75, size * 0.18, chance.uniform(-0.9, 0.9))
    turn, count = chance.uniform(0, 1), chance.choice((5, 6, 8))
    petal = [(size * (0.55 + 0.5 * cos), size * 0.24 * sin) for cos, sin in CIRCLE[::2]]
    petals = [turned(petal, (x, y), turn + 2 * math.pi * k / count) for k in range(count)]
    return [stem, leaf], petals, disc(x, y, size * 0.25)


def half_ring(ring: Outline, *, upper: bool) -> Outline:
    """The half of a planet's ring behind it (upper) or before it."""
    half = ring[16:] + ring[:1] if upper else ring[:17]
    (ax, ay), (bx, by) = half[0], half[-1]
    cx, cy = (ax + bx) / 2, (ay + by) / 2
    return half + [(cx + (x - cx) * 0.78, cy + (y - cy) * 0.78) for x, y in reversed(half)]


def drop(chance: random.Random, width: float, unit: float) -> Outline:
    """A streak of rain somewhere."""
    x, y = chance.uniform(0, width * 1.1), chance.random()
    length, thick = chance.uniform(0.03, 0.07), 0.0022 * unit
    foot = x - length * 0.3
    return [(x, y), (x + thick, y), (foot + thick, y + length), (foot, y + length)]

"""Outlines of single figures, each drawn in a square of 1 above the origin unless it says so."""

from __future__ import annotations

import math

from infrastructure.providers.sketches.shapes import (
    CIRCLE,
    Outline,
    arc,
    box,
    disc,
    mirrored,
    oval,
    placed,
    rounded,
    whole,
)

# fmt: off  # points read best in rows

# --- by the water ----------------------------------------------------------------------------

BOAT = [(-0.5, -0.12), (0.5, -0.12), (0.36, 0.05), (-0.36, 0.05)]
MAST = box(-0.012, -1.04, 0.012, -0.1)
MAINSAIL = [(0.03, -1.0), (0.16, -0.72), (0.33, -0.42), (0.44, -0.18), (0.03, -0.18)]
FORESAIL = [(-0.03, -0.9), (-0.14, -0.6), (-0.38, -0.18), (-0.03, -0.18)]
LIGHTHOUSE = [(-0.12, 0.02), (-0.072, -0.78), (0.072, -0.78), (0.12, 0.02)]
GALLERY = box(-0.11, -0.8, 0.11, -0.775)
LANTERN = box(-0.055, -0.895, 0.055, -0.8)
LANTERN_CAP = [(-0.085, -0.89), (-0.05, -0.94), (0, -1.0), (0.05, -0.94), (0.085, -0.89)]
KEEPERS_HOUSE = box(0.1, -0.2, 0.42, 0.05)
KEEPERS_ROOF = [(0.06, -0.19), (0.14, -0.34), (0.38, -0.34), (0.46, -0.19)]
FLUKE = rounded(
    whole(
        [
            (0, -0.6),
            (-0.16, -0.7),
            (-0.42, -0.8),
            (-0.68, -0.76),
            (-0.5, -0.62),
            (-0.28, -0.5),
            (-0.08, -0.4),
            (-0.1, -0.2),
            (-0.22, 0.06),
            (0, 0.06),
        ]
    )
)


def band(part: float) -> Outline:
    """A stripe around the lighthouse, `part` of the way up."""
    low, high = 0.12 - 0.0615 * part, 0.12 - 0.0615 * (part + 0.13)
    return [(-low, -part), (low, -part), (high, -part - 0.13), (-high, -part - 0.13)]


# --- in the country --------------------------------------------------------------------------

CABIN = [(-0.5, 0.05), (-0.5, -0.42), (0, -0.8), (0.5, -0.42), (0.5, 0.05)]
ROOF = [(-0.64, -0.36), (0, -0.88), (0.64, -0.36), (0.56, -0.3), (0, -0.74), (-0.56, -0.3)]
CHIMNEY = box(0.22, -0.92, 0.36, -0.5)
WINDOW = box(-0.15, -0.4, 0.15, -0.12)
MILL = [(-0.17, 0.02), (-0.1, -0.58), (0.1, -0.58), (0.17, 0.02)]
MILL_CAP = [(-0.12, -0.57), (-0.09, -0.66), (0, -0.71), (0.09, -0.66), (0.12, -0.57)]
MILL_SAIL = [
    (-0.012, 0),
    (-0.012, -0.14),
    (-0.03, -0.16),
    (-0.03, -0.5),
    (0.1, -0.5),
    (0.1, -0.16),
    (0.012, -0.14),
    (0.012, 0),
]
CACTUS = rounded(
    [
        (-0.07, 0.02),
        (-0.07, -0.32),
        (-0.3, -0.32),
        (-0.3, -0.72),
        (-0.19, -0.72),
        (-0.19, -0.44),
        (-0.07, -0.44),
        (-0.07, -1),
        (0.07, -1),
        (0.07, -0.32),
        (0.19, -0.32),
        (0.19, -0.6),
        (0.3, -0.6),
        (0.3, -0.2),
        (0.07, -0.2),
        (0.07, 0.02),
    ]
)
ROCKET = rounded(
    whole(
        [
            (0, -1.16),
            (-0.05, -1.02),
            (-0.13, -0.8),
            (-0.14, -0.25),
            (-0.3, 0),
            (-0.1, -0.1),
            (0, -0.1),
        ]
    ),
    1,
)
PORTHOLE = disc(0, -0.6, 0.06)
FLAME = rounded([(-0.09, -0.1), (0.09, -0.1), (0.06, 0.12), (0, 0.4), (-0.06, 0.12)])
LOCOMOTIVE = [(-0.95, -0.06), (-0.95, -0.34), (-0.42, -0.34), (-0.42, -0.5), (0, -0.5), (0, -0.06)]
FUNNEL = [(-0.84, -0.33), (-0.88, -0.54), (-0.7, -0.54), (-0.74, -0.33)]
WAGON = box(0.06, -0.46, 0.96, -0.06)
WAGON_WINDOWS = [box(0.13 + 0.2 * k, -0.38, 0.25 + 0.2 * k, -0.22) for k in range(4)]


def castle() -> tuple[list[Outline], list[Outline]]:
    """Walls and towers, and the roofs on them."""
    towers = [(-0.42, 0.16, 0.5), (-0.16, 0.12, 0.78), (0.14, 0.17, 0.62), (0.44, 0.13, 0.42)]
    walls = [box(-0.46, -0.34, 0.46, 0.08)]
    walls += [box(x - wide / 2, -high, x + wide / 2, 0.08) for x, wide, high in towers]
    walls += [box(-0.46 + 0.08 * k, -0.38, -0.42 + 0.08 * k, -0.33) for k in range(12)]
    roofs = [
        [(x - wide * 0.68, -high), (x, -high - wide * 1.9), (x + wide * 0.68, -high)]
        for x, wide, high in towers
    ]
    return walls, roofs


def cat() -> list[Outline]:
    """A cat that sits and looks away."""
    curl = [(0.2 + 0.32 * math.sin(k / 6), -0.02 - 0.4 * (k / 12) ** 2) for k in range(13)]
    tail = [*curl, *((px + 0.07, py + 0.03) for px, py in reversed(curl))]
    ear = [(-0.19, -0.72), (-0.18, -0.99), (-0.02, -0.86)]
    body = [oval(0, -0.25, 0.27, 0.32), oval(0, -0.5, 0.17, 0.25), disc(0, -0.72, 0.19)]
    return [*body, tail, ear, mirrored(ear)]


def fox() -> tuple[list[Outline], list[Outline]]:
    """A fox that sits and looks at us, and what is white of it."""
    tail = rounded([(0.1, -0.02), (0.5, 0.02), (0.62, -0.22), (0.5, -0.56), (0.42, -0.2)])
    ear = [(-0.19, -0.74), (-0.19, -1.0), (-0.03, -0.84)]
    head = [(-0.24, -0.7), (-0.12, -0.84), (0.12, -0.84), (0.24, -0.7), (0, -0.48)]
    body = rounded(whole([(0, -0.62), (-0.14, -0.56), (-0.26, -0.2), (-0.26, 0.02), (0, 0.02)]))
    tip = rounded([(0.5, -0.58), (0.61, -0.25), (0.54, -0.28), (0.46, -0.3)], 1)
    cheek = [(-0.22, -0.69), (-0.09, -0.66), (0, -0.5)]
    bib = rounded([(-0.1, -0.5), (0.1, -0.5), (0.06, -0.2), (0, -0.12), (-0.06, -0.2)])
    return [tail, body, head, ear, mirrored(ear)], [tip, cheek, mirrored(cheek), bib]


def owl() -> tuple[list[Outline], list[Outline], list[Outline]]:
    """An owl that sits: its body, the rings of its eyes, and what is dark in them."""
    body = rounded(
        whole([(0, -0.84), (-0.12, -0.84), (-0.3, -1.02), (-0.3, -0.3), (-0.16, 0.1), (0, 0.1)])
    )
    eyes = [disc(x, -0.66, 0.11) for x in (-0.12, 0.12)]
    return [body], eyes, [disc(x, -0.66, 0.055) for x in (-0.12, 0.12)]


def balloon() -> tuple[list[Outline], list[Outline]]:
    """A hot-air balloon, and the stripes on it."""
    skirt = [(-0.3, -0.52), (0.3, -0.52), (0.08, -0.2), (-0.08, -0.2)]
    rope = [(-0.07, -0.2), (-0.06, -0.12), (-0.05, -0.2)]
    stripes = [oval(-0.2, -0.66, 0.05, 0.24, 0.12), oval(0.2, -0.66, 0.05, 0.24, -0.12)]
    stripes.append(oval(0, -0.66, 0.06, 0.34))
    return [disc(0, -0.68, 0.34), skirt, box(-0.07, -0.12, 0.07, 0), rope, mirrored(rope)], stripes


# --- on a table ------------------------------------------------------------------------------

BOTTLE = rounded(
    whole([(0, -1.0), (-0.05, -1.0), (-0.05, -0.74), (-0.15, -0.6), (-0.15, 0), (0, 0)]), 1
)
BOTTLE_LABEL = box(-0.14, -0.42, 0.14, -0.2)
VASE = rounded(
    whole(
        [
            (0, -0.62),
            (-0.13, -0.62),
            (-0.07, -0.52),
            (-0.22, -0.34),
            (-0.2, -0.14),
            (-0.1, 0),
            (0, 0),
        ]
    )
)
PEAR = rounded(
    whole([(0, -0.7), (-0.1, -0.66), (-0.16, -0.4), (-0.33, -0.2), (-0.22, 0.02), (0, 0.02)])
)
PEAR_STEM = [(-0.015, -0.66), (0.03, -0.82), (0.055, -0.81), (0.02, -0.66)]
TEAPOT = [oval(0, -0.34, 0.38, 0.34), box(-0.2, -0.06, 0.2, 0)]
TEAPOT_SPOUT = rounded(
    [(0.28, -0.16), (0.5, -0.36), (0.56, -0.64), (0.68, -0.66), (0.62, -0.3), (0.34, -0.02)]
)
TEAPOT_HANDLE = arc(-0.3, -0.36, 0.27, 0.07, math.pi * 0.5, math.pi * 1.55)
TEAPOT_LID = [oval(0, -0.65, 0.2, 0.06), disc(0, -0.74, 0.05)]
CUP = rounded(whole([(0, -0.5), (-0.36, -0.5), (-0.32, -0.16), (-0.16, 0), (0, 0)]), 1)
CUP_HANDLE = arc(0.32, -0.3, 0.16, 0.06, -math.pi * 0.55, math.pi * 0.6)
BOWL = [(0.5 * cos, -0.36 + 0.36 * sin) for cos, sin in CIRCLE[:17]]
BOWL_FOOT = box(-0.16, -0.03, 0.16, 0)


# --- faces, around the origin and 1 to each side ---------------------------------------------

FOX_FACE = rounded(
    whole([(0, -0.52), (-0.34, -0.52), (-0.66, -0.26), (-0.8, 0.06), (-0.34, 0.42), (0, 0.74)]), 1
)
FOX_EAR = rounded([(-0.7, -0.14), (-0.7, -1.06), (-0.12, -0.5)], 1)
FOX_EAR_INSIDE = rounded([(-0.6, -0.34), (-0.61, -0.84), (-0.28, -0.52)], 1)
FOX_CHEEK = rounded(
    [(-0.8, 0.04), (-0.46, -0.04), (-0.2, 0.16), (-0.02, 0.44), (-0.02, 0.7), (-0.34, 0.46)], 1
)
CAT_FACE = oval(0, 0, 0.72, 0.62)
CAT_CHEEK = oval(-0.14, 0.26, 0.18, 0.14)
CAT_EAR = rounded([(-0.7, -0.06), (-0.68, -0.92), (-0.14, -0.52)], 1)
CAT_EAR_INSIDE = rounded([(-0.58, -0.3), (-0.58, -0.72), (-0.3, -0.5)], 1)
BEAR_EAR = disc(-0.5, -0.46, 0.24)
BEAR_EAR_INSIDE = disc(-0.5, -0.46, 0.13)
ANIMAL_CHEST = rounded(
    whole([(0, 0.2), (-0.42, 0.3), (-0.72, 0.9), (-0.86, 2.2), (0, 2.2)]),
)
ANIMAL_BIB = rounded(whole([(0, 0.5), (-0.3, 0.56), (-0.34, 0.9), (-0.12, 1.5), (0, 1.7)]))
SHOULDERS = rounded(
    whole([(0, 0.5), (-0.2, 0.54), (-0.7, 0.72), (-0.98, 1.2), (-1.06, 2.6), (0, 2.6)])
)
NECK = rounded(whole([(0, 0.2), (-0.17, 0.2), (-0.16, 0.56), (-0.28, 0.66), (0, 0.86)]), 1)
FACE = rounded(whole([(0, -0.5), (-0.36, -0.5), (-0.4, 0.0), (-0.28, 0.36), (0, 0.5)]))
LONG_HAIR = rounded(
    whole(
        [(0, -0.8), (-0.34, -0.8), (-0.56, -0.5), (-0.54, 0), (-0.62, 0.6), (-0.44, 0.78), (0, 0.7)]
    )
)
SHORT_HAIR = rounded(
    whole([(0, -0.76), (-0.32, -0.76), (-0.52, -0.5), (-0.46, -0.1), (-0.3, 0.1), (0, 0.1)])
)
FRINGE = rounded(
    [
        (-0.42, 0),
        (-0.5, -0.42),
        (-0.32, -0.74),
        (0, -0.8),
        (0.32, -0.74),
        (0.5, -0.42),
        (0.42, 0),
        (0.12, -0.38),
    ]
)
CROWN = [
    (-0.38, -0.5),
    (-0.44, -0.92),
    (-0.22, -0.72),
    (0, -1),
    (0.22, -0.72),
    (0.44, -0.92),
    (0.38, -0.5),
    (0, -0.46),
]
HAT_CROWN = rounded(whole([(0, -0.98), (-0.32, -0.98), (-0.42, -0.7), (-0.42, -0.4), (0, -0.36)]))
HAT_BRIM = oval(0, -0.42, 0.78, 0.13)
HAT_RIBBON = [(-0.41, -0.62), (0.41, -0.62), (0.41, -0.5), (0, -0.45), (-0.41, -0.5)]

# fmt: on


def placed_all(outlines: list[Outline], at: tuple[float, float], size: float) -> list[Outline]:
    """Outlines of one figure, scaled and set down at a place."""
    return [placed(outline, at, size) for outline in outlines]

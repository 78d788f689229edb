"""Portraits: an animal that the prompt names, or else a person, before a plain ground."""

from __future__ import annotations

from infrastructure.providers.sketches import figures, shapes
from infrastructure.providers.sketches.figures import placed_all
from infrastructure.providers.sketches.layers import Scene
from infrastructure.providers.sketches.palettes import Colour, colour, mixed
from infrastructure.providers.sketches.shapes import Outline, Point

SKINS_AND_HAIRS = (
    ("f1c9a5", "5a3420"),
    ("f1c9a5", "c89b5a"),
    ("e6b48a", "2b1d18"),
    ("d09a68", "33201a"),
    ("a86b3c", "1f1614"),
    ("7a4a2a", "15100f"),
)
PEOPLE = ("woman", "man", "girl", "boy", "child", "king", "queen", "lady", "gentleman")
WHITE_HAIR = "d9d6cf"
FURS = {
    "fox": ("d96b27", "f6ead8"),
    "wolf": ("7d8490", "e9e7e2"),
    "dog": ("b98450", "f3e6d0"),
    "bear": ("6b4630", "c79a6a"),
    "cat": ("7c7480", "efe9df"),
}
INK: Colour = (34, 26, 28)


def portrait(scene: Scene) -> None:
    """A face before a disc of light, leaves around it."""
    palette, width, unit = scene.palette, scene.width, scene.unit
    ground = mixed(palette.sky, palette.far, 0.35)
    scene.add(
        [shapes.box(-0.02, -0.02, width + 0.02, 1.02)], ground, mixed(ground, palette.near, 0.4)
    )
    at = (width * 0.5, 0.5)
    halo = shapes.great_disc(at[0], at[1] - unit * 0.03, unit * 0.4)
    scene.add([halo], palette.light, palette.horizon, opacity=0.85)
    _leaves(scene, at, unit * 0.43)
    animal = next((kind for kind in FURS if scene.names(kind)), None)
    if animal and not scene.names(*PEOPLE):
        _animal(scene, animal, at, unit * 0.33)
    else:
        _person(scene, (at[0], at[1] - unit * 0.02), unit * 0.38)


def _leaves(scene: Scene, at: Point, reach: float) -> None:
    """Sprigs that rise on both sides from below."""
    chance, palette = scene.chance, scene.palette
    for side in (-1, 1):
        for sprig in range(3):
            foot = (at[0] + side * reach * (0.7 + 0.22 * sprig), 1.02)
            tip = (
                at[0] + side * reach * (0.95 + 0.2 * sprig),
                at[1] + reach * (0.1 - 0.34 * sprig),
            )
            tip = (tip[0], tip[1] + reach * chance.uniform(0, 0.3))
            tone = palette.depth(0.35 + 0.25 * sprig)
            scene.add(_sprig(foot, tip, reach * 0.15), mixed(tone, palette.light, 0.2), tone)


def _sprig(foot: Point, tip: Point, leaf: float) -> list[Outline]:
    (fx, fy), (tx, ty) = foot, tip
    outlines = [shapes.line(foot, tip, leaf * 0.08)]
    for k in range(1, 8):
        x, y = fx + (tx - fx) * k / 7, fy + (ty - fy) * k / 7
        size = leaf * (1.15 - k / 12)
        outlines += [
            shapes.oval(x + turn * size * 0.75, y - size * 0.4, size, size * 0.32, -turn * 0.6)
            for turn in (-1, 1)
        ]
    return outlines


def _both(left: Outline) -> list[Outline]:
    return [left, shapes.mirrored(left)]


def _animal(scene: Scene, kind: str, at: Point, size: float) -> None:
    fur, white = (colour(code) for code in FURS[kind])
    fur = mixed(fur, scene.palette.far, 0.1)
    dark, pale = mixed(fur, scene.palette.near, 0.5), mixed(white, scene.palette.light, 0.3)
    scene.add(placed_all([figures.ANIMAL_CHEST], at, size), fur, dark)
    scene.add(placed_all([figures.ANIMAL_BIB], at, size), pale, mixed(pale, fur, 0.35))
    pointed = kind in ("fox", "wolf")
    ear, inside = {
        "cat": (figures.CAT_EAR, figures.CAT_EAR_INSIDE),
        "bear": (figures.BEAR_EAR, figures.BEAR_EAR_INSIDE),
    }.get(kind, (figures.FOX_EAR, figures.FOX_EAR_INSIDE))
    scene.add(placed_all(_both(ear), at, size), mixed(fur, INK, 0.25), fur)
    scene.add(placed_all(_both(inside), at, size), INK, dark)
    face = figures.FOX_FACE if pointed else figures.CAT_FACE
    scene.add(placed_all([face], at, size), mixed(fur, pale, 0.15), fur, shade="lit_left")
    cheek = figures.FOX_CHEEK if pointed else figures.CAT_CHEEK
    scene.add(placed_all(_both(cheek), at, size), pale, mixed(pale, fur, 0.12))
    _gaze(scene, at, size, nose=0.68 if pointed else 0.2)
    if kind == "cat":
        _whiskers(scene, at, size)


def _gaze(scene: Scene, at: Point, size: float, nose: float) -> None:
    eye = shapes.oval(-0.3, -0.06, 0.11, 0.085, 0.35)
    scene.add(placed_all(_both(eye), at, size), INK)
    gleams = [shapes.disc(x, -0.09, 0.026) for x in (-0.27, 0.33)]
    scene.add(placed_all([*gleams], at, size), scene.palette.light)
    tip = shapes.rounded([(-0.13, nose - 0.08), (0.13, nose - 0.08), (0, nose + 0.1)])
    scene.add(placed_all([tip], at, size), INK)


def _whiskers(scene: Scene, at: Point, size: float) -> None:
    hairs = [
        shapes.line((side * 0.2, 0.26), (side * 0.86, 0.2 + 0.1 * k), 0.012)
        for side in (-1, 1)
        for k in range(3)
    ]
    scene.add(placed_all(hairs, at, size), scene.palette.light, opacity=0.7)


def _person(scene: Scene, at: Point, size: float) -> None:
    chance, palette = scene.chance, scene.palette
    skin_code, hair_code = chance.choice(SKINS_AND_HAIRS)
    old = scene.names("old", "elderly", "grandfather", "grandmother")
    skin = mixed(colour(skin_code), palette.far, 0.1)
    hair = mixed(colour(WHITE_HAIR if old else hair_code), palette.near, 0.12)
    shaded = mixed(skin, palette.near, 0.3)
    short = scene.names("man", "boy", "king", "gentleman", "fisherman", "pirate", "grandfather")
    back = figures.SHORT_HAIR if short else figures.LONG_HAIR
    scene.add(placed_all([back], at, size), mixed(hair, palette.light, 0.1), hair)
    scene.add(placed_all([figures.NECK], at, size), shaded, skin)
    cloth = palette.accent if not scene.names("hat") else palette.zenith
    scene.add(placed_all([figures.SHOULDERS], at, size), cloth, mixed(cloth, palette.near, 0.5))
    scene.add(placed_all([figures.NECK], at, size), shaded, skin)
    scene.add(placed_all([figures.FACE], at, size), skin, shaded, shade="lit_left")
    _features(scene, at, size, skin)
    scene.add(placed_all([figures.FRINGE], at, size), mixed(hair, palette.light, 0.15), hair)
    if scene.names("hat"):
        _hat(scene, at, size)
    elif scene.names("king", "queen", "prince", "princess"):
        _crown(scene, at, size)


def _features(scene: Scene, at: Point, size: float, skin: Colour) -> None:
    """Closed eyes, brows, a nose, lips and warm cheeks."""
    lash = shapes.arc(-0.17, -0.02, 0.085, 0.022, 0.35, 2.8)
    brow = shapes.arc(-0.17, -0.04, 0.13, 0.022, 3.8, 5.5)
    nose = shapes.line((0.0, 0.0), (-0.035, 0.16), 0.016)
    lips = [shapes.oval(0, 0.29, 0.085, 0.026), shapes.oval(0, 0.31, 0.06, 0.026)]
    blush = mixed(skin, (205, 70, 60), 0.5)
    cheeks = _both(shapes.disc(-0.22, 0.16, 0.085))
    scene.add(placed_all(cheeks, at, size), blush, opacity=0.35)
    scene.add(placed_all([*_both(lash), *_both(brow)], at, size), INK, opacity=0.85)
    scene.add(placed_all([nose], at, size), INK, opacity=0.35)
    scene.add(placed_all(lips, at, size), mixed(skin, (150, 30, 40), 0.65))


def _hat(scene: Scene, at: Point, size: float) -> None:
    palette = scene.palette
    tone = palette.accent
    scene.add(placed_all([figures.HAT_CROWN], at, size), mixed(tone, palette.light, 0.35), tone)
    scene.add(placed_all([figures.HAT_RIBBON], at, size), palette.near)
    scene.add(placed_all([figures.HAT_BRIM], at, size), tone, mixed(tone, palette.near, 0.3))


def _crown(scene: Scene, at: Point, size: float) -> None:
    gold = colour("e0ac3a")
    scene.add(placed_all([figures.CROWN], at, size), mixed(gold, scene.palette.light, 0.4), gold)
    stones = [shapes.disc(x, -0.6, 0.035) for x in (-0.2, 0.0, 0.2)]
    scene.add(placed_all(stones, at, size), scene.palette.accent)

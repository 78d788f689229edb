"""Water: the open sea and what is on it, and a lake that mirrors its shore."""

from __future__ import annotations

from infrastructure.providers.sketches import figures, shapes
from infrastructure.providers.sketches.figures import placed_all
from infrastructure.providers.sketches.landscapes import cabin, firs, ranges
from infrastructure.providers.sketches.layers import Mirror, Scene
from infrastructure.providers.sketches.palettes import mixed


def sea(scene: Scene) -> None:
    """The sea below a far coast; a whale, a lighthouse or else a boat on it."""
    chance, palette = scene.chance, scene.palette
    level = chance.uniform(0.54, 0.6)
    coast = shapes.ridge(chance, scene.width, level - 0.005, 0.13, 0.48)
    scene.add(
        [shapes.grounded(coast)], palette.depth(0.12), mixed(palette.far, palette.horizon, 0.6)
    )
    scene.mist(level - 0.08, level, 0.35)
    deep = mixed(palette.zenith, palette.near, 0.35)
    water = shapes.box(-0.02, level, scene.width + 0.02, shapes.GROUND)
    scene.add([water], mixed(palette.horizon, palette.far, 0.15), deep)
    glitter(scene, level)
    if scene.names("whale"):
        _whale(scene)
    else:
        boat(scene, level + 0.09)
    for k in range(4):
        wave = shapes.swell(chance, scene.width, 0.8 + 0.065 * k, 0.014 + 0.003 * k)
        tone = mixed(palette.far, deep, 0.35 + 0.2 * k)
        scene.add([shapes.grounded(wave)], mixed(tone, palette.light, 0.14), tone, opacity=0.8)
    if scene.names("lighthouse", "coast", "harbour", "harbor"):
        _lighthouse(scene)


def lake(scene: Scene) -> None:
    """A lake between mountains, which it mirrors; firs on both of its banks."""
    chance, palette = scene.chance, scene.palette
    level = chance.uniform(0.6, 0.64)
    ranges(scene, count=3, first=level - 0.14, step=0.05)
    shore = shapes.swell(chance, scene.width, level - 0.012, 0.006)
    firs(scene, shore, 40, 0.06, palette.depth(0.72), mist=0.15)
    if scene.names("cabin", "house", "cottage", "hut", "home"):
        cabin(scene, shore)
    deep = mixed(palette.zenith, palette.near, 0.45)
    scene.layers.append(Mirror(level, near=deep, far=mixed(palette.horizon, palette.far, 0.4)))
    scene.mist(level - 0.05, level + 0.012, 0.4)
    _ripples(scene, level)
    glitter(scene, level)
    if scene.names("boat", "sail", "sailboat", "ship"):
        boat(scene, level + 0.12)
    _bank(scene)


def _ripples(scene: Scene, level: float) -> None:
    chance, streaks = scene.chance, []
    for k in range(18):
        y = level + 0.01 + 0.36 * (k / 18) ** 1.4
        across = scene.unit * chance.uniform(0.04, 0.16) * (0.5 + k / 12)
        streaks.append(shapes.oval(chance.uniform(0, scene.width), y, across, 0.0012 + k / 9000))
    scene.add(streaks, scene.palette.horizon, opacity=0.3)


def _bank(scene: Scene) -> None:
    """The near bank, with tall firs at its edges that frame the view."""
    chance, palette, width = scene.chance, scene.palette, scene.width
    ground = shapes.swell(chance, width, 0.965, 0.016)
    high = scene.unit * 0.5
    trees = []
    for edge, side in ((0.0, 1), (width, -1)):
        reach = 0.06 if (edge == 0) == (scene.stand > 0.5) else 0.16
        for _ in range(4):
            x = edge + side * width * chance.uniform(-0.02, reach)
            trees.append(shapes.fir(chance, x, 1.0, high * chance.uniform(0.45, 1.0)))
    scene.add(
        [shapes.grounded(ground), *trees], mixed(palette.near, palette.far, 0.12), palette.near
    )
    reeds = [
        shapes.line((x, 0.99), (x + chance.uniform(-0.03, 0.03), chance.uniform(0.86, 0.93)), 0.004)
        for x in (chance.uniform(0, width) for _ in range(round(26 * min(width, 4.0))))
    ]
    scene.add(reeds, palette.near)


def glitter(scene: Scene, level: float) -> None:
    """The light's path on the water."""
    chance, streaks = scene.chance, []
    for k in range(26):
        y = level + 0.006 + 0.25 * (k / 26) ** 1.2
        x = scene.light.x + scene.unit * chance.uniform(-0.05, 0.05) * (1 + k / 10)
        across = scene.unit * chance.uniform(0.015, 0.06) * (0.6 + k / 26)
        streaks.append(shapes.oval(x, y, across, 0.0022 + 0.002 * k / 26))
    scene.add(streaks, scene.palette.light, opacity=0.75)


def boat(scene: Scene, foot: float) -> None:
    """A sailing boat and its shadow on the water."""
    size, palette = scene.unit * 0.16, scene.palette
    away = 0.45 if scene.light.x > scene.width / 2 else 0.55
    at = (scene.width * (away + scene.chance.uniform(-0.05, 0.05)), foot)
    shadow = shapes.oval(at[0], foot + size * 0.1, size * 0.5, size * 0.07)
    scene.add([shadow], palette.near, opacity=0.4)
    sails = placed_all([figures.MAINSAIL, figures.FORESAIL], at, size)
    tone = palette.accent if scene.names("red", "orange", "yellow") else palette.light
    scene.add(sails, tone, mixed(tone, palette.accent, 0.55))
    scene.add(placed_all([figures.BOAT, figures.MAST], at, size), palette.near)


def _whale(scene: Scene) -> None:
    chance, palette, size = scene.chance, scene.palette, scene.unit * 0.4
    x, foot = scene.width * (0.44 if scene.stand < 0.5 else 0.56), 0.8
    back = mixed(palette.near, palette.far, 0.45)
    scene.add([shapes.placed(figures.FLUKE, (x, foot), size)], back, palette.near)
    spray = [
        shapes.speck(
            x + size * chance.gauss(0, 0.34), foot - size * chance.random() ** 2 * 0.8, 0.006
        )
        for _ in range(34)
    ]
    scene.add(spray, palette.light, opacity=0.75)
    rings = [shapes.oval(x, foot, size * reach, size * reach * 0.12) for reach in (0.6, 0.42)]
    scene.add(rings, palette.light, opacity=0.28)


def _lighthouse(scene: Scene) -> None:
    palette, size = scene.palette, scene.unit * 0.56
    x = scene.width * scene.stand
    side = 1 if scene.stand > 0.5 else -1
    at = (x, 0.76)
    if palette.dark:
        _beams(scene, x, at[1] - size * 0.85)
    house = [figures.KEEPERS_HOUSE, figures.KEEPERS_ROOF]
    walls, roof = (shapes.placed(o if side > 0 else shapes.mirrored(o), at, size) for o in house)
    white, shaded = (
        mixed(palette.light, palette.horizon, 0.25),
        mixed(palette.far, palette.near, 0.4),
    )
    ends = (white, shaded) if scene.lit == "lit_left" else (shaded, white)
    scene.add([walls], *ends, shade="across")
    scene.add([roof], mixed(palette.near, palette.accent, 0.25), palette.near)
    scene.add([shapes.placed(figures.LIGHTHOUSE, at, size)], *ends, shade="across")
    bands = [shapes.placed(figures.band(part), at, size) for part in (0.12, 0.4, 0.64)]
    red, dark = mixed(palette.accent, palette.near, 0.08), mixed(palette.accent, palette.near, 0.6)
    scene.add(bands, *((red, dark) if scene.lit == "lit_left" else (dark, red)), shade="across")
    scene.add(placed_all([figures.LANTERN], at, size), palette.light, palette.accent)
    scene.add(placed_all([figures.LANTERN_CAP, figures.GALLERY], at, size), palette.near)
    _headland(scene, x, side)


def _beams(scene: Scene, x: float, y: float) -> None:
    reach = scene.width * 1.1
    for side in (-1, 1):
        beam = [(x, y - 0.008), (x, y + 0.008), (x + side * reach, y + 0.16)]
        beam.append((x + side * reach, y - 0.06))
        scene.add([beam], scene.palette.light, opacity=0.16)
    halo = scene.unit * 0.05
    scene.add([shapes.disc(x, y, halo)], scene.palette.light, opacity=0.35)


def _headland(scene: Scene, x: float, side: int) -> None:
    """The rock that the lighthouse stands on, from the near edge into the water."""
    palette, unit = scene.palette, scene.unit
    edge = x + side * unit * 1.6
    profile = ((0.3, 0.755), (0.18, 0.745), (-0.14, 0.75), (-0.24, 0.82), (-0.34, 0.845))
    top = [(x + side * unit * across, y) for across, y in profile]
    foot = [(x - side * unit * across, y) for across, y in ((0.4, 0.93), (0.6, 0.965), (0.7, 1.04))]
    rock = shapes.rounded([(edge, 1.04), (edge, 0.78), *top, *foot], 1)
    near, far = palette.near, mixed(palette.near, palette.far, 0.45)
    scene.add([rock], far, near)
    face = [(x - side * unit * across, y) for across, y in ((0.12, 0.77), (0.3, 0.86), (0.5, 0.99))]
    crag = [*face, (x - side * unit * 0.1, 1.04), (x + side * unit * 0.04, 0.86)]
    scene.add([crag], mixed(near, far, 0.2), near, opacity=0.55)

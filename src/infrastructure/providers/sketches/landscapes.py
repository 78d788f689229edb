"""Land: mountains, forest, desert, meadow, and another planet's."""

from __future__ import annotations

from itertools import chain

from infrastructure.providers.sketches import figures, shapes
from infrastructure.providers.sketches.figures import placed_all
from infrastructure.providers.sketches.layers import Scene
from infrastructure.providers.sketches.palettes import Colour, mixed
from infrastructure.providers.sketches.shapes import Outline


def mountains(scene: Scene) -> None:
    """Ranges behind ranges, snow on the farthest, firs in front."""
    ranges(scene, count=5, first=0.5, step=0.11)
    if scene.names("castle", "fortress", "dragon", "knight"):
        _castle(scene)
    firs(scene, shapes.swell(scene.chance, scene.width, 0.97, 0.02), 26, 0.1, scene.palette.near)


def ranges(scene: Scene, count: int, first: float, step: float) -> None:
    """Lay ranges of mountains, each lower and nearer than the last, mist between them."""
    chance, palette = scene.chance, scene.palette
    for k in range(count):
        part = k / 4
        level = first + step * k
        skyline = shapes.ridge(chance, scene.width, level, 0.3 - 0.045 * k, 0.52)
        tone = palette.depth(part**1.3)
        scene.add([shapes.grounded(skyline)], tone, mixed(tone, palette.horizon, 0.62 - 0.5 * part))
        if k < count - 2:
            slopes = shapes.lit_slopes(chance, skyline, scene.light.x)
            scene.add(slopes, mixed(tone, palette.light, 0.75), tone, opacity=0.75)
        if k < count - 1:
            scene.mist(level - 0.02, level + step + 0.12, 0.5 - 0.1 * k)


def _castle(scene: Scene) -> None:
    chance, palette, size = scene.chance, scene.palette, scene.unit * 0.34
    x = scene.width * scene.stand
    reach = scene.unit * 0.62
    hill = [(x + reach * k / 8, 0.74 + 0.3 * (abs(k) / 8) ** 1.5) for k in range(-8, 9)]
    walls, roofs = figures.castle()
    at = (x, 0.76)
    tone = palette.depth(0.62)
    scene.add(placed_all(roofs, at, size), palette.accent, mixed(palette.accent, palette.near, 0.5))
    scene.add(placed_all(walls, at, size), mixed(tone, palette.light, 0.25), tone)
    lit = [
        shapes.box(px, -py, px + 0.03, -py + 0.06)
        for px, py in ((-0.18, 0.66), (-0.44, 0.42), (0.12, 0.52), (0.1, 0.2), (-0.3, 0.22))
    ]
    scene.add(placed_all(lit, at, size), palette.light, palette.light)
    scene.add([shapes.grounded(hill)], tone, mixed(tone, palette.near, 0.6))
    trees = [
        shapes.fir(chance, px, py + 0.03, scene.unit * chance.uniform(0.05, 0.1))
        for px, py in (chance.choice(hill) for _ in range(16))
        if abs(px - x) > size * 0.45
    ]
    scene.add(trees, palette.depth(0.8), palette.near)


def forest(scene: Scene) -> None:
    """Firs behind firs; who lives there, when the prompt names it."""
    chance, palette = scene.chance, scene.palette
    far = shapes.ridge(chance, scene.width, 0.52, 0.2, 0.45)
    scene.add([shapes.grounded(far)], palette.depth(0.05), palette.horizon)
    foggy = scene.names("fog", "foggy", "mist", "misty", "haze")
    for k in range(4):
        part = (k + 1) / 4
        level = 0.6 + 0.115 * k
        ground = shapes.swell(chance, scene.width, level, 0.05)
        tone = palette.depth(part)
        firs(scene, ground, 36 - 7 * k, 0.09 + 0.055 * k, tone, mist=0.6 * (1 - part))
        if k < 3:
            scene.mist(level - 0.16, level + 0.2, 0.85 - 0.1 * k if foggy else 0.3)
        if k == 2 and scene.names("cabin", "house", "cottage", "hut", "home"):
            cabin(scene, ground)
    if scene.names("fox", "dog", "wolf", "bear"):
        _fox(scene)
    if scene.names("owl"):
        _owl(scene)


def firs(
    scene: Scene, ground: Outline, count: int, height: float, tone: Colour, mist: float = 0.0
) -> None:
    """Lay ground with firs on it."""
    chance = scene.chance
    places = [chance.uniform(-0.03, 1.03) * scene.width for _ in range(round(count * scene.width))]
    trees = [
        shapes.fir(
            chance, x, shapes.height_at(ground, x) + 0.02, height * chance.uniform(0.55, 1.2)
        )
        for x in places
    ]
    scene.add([shapes.grounded(ground), *trees], tone, mixed(tone, scene.palette.horizon, mist))


def cabin(scene: Scene, ground: Outline) -> None:
    """A cabin on a rise, with a light in its window and smoke over its chimney."""
    palette, size = scene.palette, scene.unit * 0.18
    x = scene.width * (scene.stand + 0.2 if scene.stand < 0.5 else scene.stand - 0.2)
    at = (x, shapes.height_at(ground, x) - size * 0.06)
    smoke = [
        shapes.disc(
            x + size * (0.29 + 0.05 * k + 0.012 * k * k),
            at[1] - size * (0.95 + 0.15 * k),
            size * 0.045 * (k + 1),
        )
        for k in range(9)
    ]
    scene.add(smoke, palette.light, opacity=0.0, foot=0.5)
    walls = placed_all([figures.CHIMNEY, figures.CABIN], at, size)
    scene.add(walls, palette.depth(0.75), palette.depth(0.95))
    scene.add(placed_all([figures.ROOF], at, size), palette.near)
    scene.add(placed_all([figures.WINDOW], at, size), palette.light, palette.accent)
    rise = [
        (x + size * k / 4, at[1] + size * (0.02 + 0.2 * (abs(k) / 8) ** 2)) for k in range(-8, 9)
    ]
    trees = [
        shapes.fir(scene.chance, x + size * away, at[1] + size * 0.12, size * high)
        for away, high in ((-1.3, 0.8), (-0.85, 1.3), (0.95, 1.1), (1.25, 0.6))
    ]
    land = [*rise, (x + size * 2, at[1] + size * 0.3), (x - size * 2, at[1] + size * 0.3)]
    scene.add(trees, palette.depth(0.85), palette.depth(0.95))
    scene.add([land], palette.depth(0.9), opacity=1.0, foot=0.0)


def _fox(scene: Scene) -> None:
    palette, at = scene.palette, (scene.width * scene.stand, 0.97)
    fur, white = figures.fox()
    tone = mixed(palette.accent, palette.light, 0.12)
    size = scene.unit * 0.3
    scene.add(placed_all(fur, at, size), tone, mixed(tone, palette.near, 0.3))
    scene.add(placed_all(white, at, size), mixed(palette.light, tone, 0.12))


def _owl(scene: Scene) -> None:
    palette, size = scene.palette, scene.unit * 0.24
    x, y = scene.width * scene.stand, 0.56
    side = 1 if scene.stand > 0.5 else -1
    edge = scene.width * (1.05 if side > 0 else -0.05)
    limb = [(edge, y + 0.09), (edge, y + 0.02), (x - side * size, y - 0.005)]
    limb += [(x - side * size * 1.3, y + 0.03), (x, y + 0.035)]
    twig = [(x - side * 0.05, y + 0.02), (x - side * 0.2, y + 0.1), (x - side * 0.06, y + 0.035)]
    scene.add([shapes.rounded(limb, 1), twig], palette.near)
    body, eyes, pupils = figures.owl()
    tone = mixed(palette.near, palette.far, 0.4)
    scene.add(placed_all(body, (x, y), size), mixed(tone, palette.light, 0.2), palette.near)
    scene.add(placed_all(eyes, (x, y), size), palette.accent, palette.light)
    scene.add(placed_all(pupils, (x, y), size), palette.near)


def desert(scene: Scene) -> None:
    """Dunes with a lit and a shaded side; pyramids or cacti."""
    chance, palette = scene.chance, scene.palette
    if scene.names("pyramid", "egypt"):
        for x, size in ((0.36, 0.3), (0.62, 0.42)):
            _pyramid(scene, scene.width * x, size * scene.unit)
    else:
        mesa = shapes.ridge(chance, scene.width, 0.6, 0.12, 0.5)
        scene.add([shapes.grounded(mesa)], palette.depth(0.02), palette.horizon)
    for k in range(5):
        skyline = shapes.swell(chance, scene.width, 0.62 + 0.09 * k, 0.035 + 0.014 * k)
        tone = palette.depth(0.06 + 0.18 * k)
        glowing = mixed(tone, palette.light, 0.5 - 0.08 * k)
        ends = (glowing, tone) if (k % 2 == 0) == (scene.lit == "lit_left") else (tone, glowing)
        scene.add([shapes.grounded(skyline)], *ends, shade="across")
        scene.mist(0.6 + 0.09 * k, 0.76 + 0.09 * k, 0.22)
    if not scene.names("pyramid", "sea"):
        for away, foot, size in ((0.0, 0.96, 0.34), (0.17, 0.84, 0.15), (-0.12, 0.78, 0.09)):
            at = (scene.width * scene.stand + away * scene.unit, foot)
            shadow = shapes.oval(at[0] + size * 0.3, foot, size * 0.42, size * 0.035)
            scene.add([shadow], palette.near, opacity=0.35)
            cactus = shapes.placed(figures.CACTUS, at, size * scene.unit)
            scene.add([cactus], palette.accent, mixed(palette.accent, palette.near, 0.75))


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


def space(scene: Scene) -> None:
    """A planet with its ring over the land of another; a rocket when the prompt names one."""
    chance, palette, unit = scene.chance, scene.palette, scene.unit
    x, y = scene.width - scene.light.x, chance.uniform(0.3, 0.4)
    radius = unit * chance.uniform(0.16, 0.22)
    ring = shapes.oval(x, y, radius * 1.8, radius * 0.42, -0.35)
    glow = mixed(palette.accent, palette.light, 0.35)
    scene.add([shapes.half_ring(ring, upper=True)], glow, palette.accent, opacity=0.8)
    night = mixed(palette.zenith, palette.near, 0.3)
    scene.add(
        [shapes.great_disc(x, y, radius)], mixed(glow, palette.light, 0.3), night, shade=scene.lit
    )
    scene.add([shapes.half_ring(ring, upper=False)], palette.light, palette.accent, opacity=0.85)
    moon = shapes.disc(x + radius * 1.3, y + radius * 1.5, radius * 0.17)
    scene.add([moon], palette.light, palette.zenith, shade=scene.lit)
    for k in range(3):
        skyline = shapes.ridge(chance, scene.width, 0.76 + 0.09 * k, 0.2 - 0.05 * k, 0.55)
        tone = palette.depth(0.2 + 0.35 * k)
        scene.add([shapes.grounded(skyline)], tone, mixed(tone, palette.near, 0.3))
        scene.mist(0.7 + 0.09 * k, 0.95 + 0.09 * k, 0.25)
    if scene.names("rocket", "astronaut", "ship", "spaceship", "launch"):
        _rocket(scene)


def _rocket(scene: Scene) -> None:
    palette, size = scene.palette, scene.unit * 0.29
    x, y = scene.light.x, 0.82
    trail = [(x - size * 0.07, y), (x + size * 0.07, y), (x + size * 0.32, 1), (x - size * 0.32, 1)]
    scene.add([trail], palette.light, opacity=0.75, foot=0.1)
    at = (x, y)
    scene.add(placed_all([figures.FLAME], at, size), palette.light, palette.accent)
    body, shaded = palette.light, mixed(palette.light, palette.zenith, 0.6)
    ends = (body, shaded) if scene.lit == "lit_left" else (shaded, body)
    scene.add(placed_all([figures.ROCKET], at, size), *ends, shade="across")
    scene.add(placed_all([figures.PORTHOLE], at, size), palette.accent, palette.near)


def meadow(scene: Scene) -> None:
    """Hills, a tree or a windmill, and flowers that grow towards us."""
    chance, palette, unit = scene.chance, scene.palette, scene.unit
    for k in range(4):
        skyline = shapes.swell(chance, scene.width, 0.54 + 0.1 * k, 0.045)
        tone = palette.depth(0.05 + 0.22 * k)
        scene.add([shapes.grounded(skyline)], mixed(tone, palette.light, 0.3), tone)
        x = scene.width * scene.stand
        if k == 1 and scene.names("windmill", "mill", "holland"):
            _windmill(scene, x, shapes.height_at(skyline, x))
        elif k == 1:
            tree = shapes.lone_tree(chance, x, shapes.height_at(skyline, x), unit * 0.3)
            scene.add(tree, palette.depth(0.4), palette.depth(0.85))
    if scene.names("cat", "rabbit") and not scene.names("window", "windowsill"):
        scene.add(placed_all(figures.cat(), (scene.width * 0.5, 0.93), unit * 0.34), palette.near)
    if scene.names("fox", "dog"):
        _fox(scene)
    if scene.names("wheat", "corn", "grain"):
        _wheat(scene)
    else:
        _flowers(scene)


def _wheat(scene: Scene) -> None:
    """Ears in the wind, row behind row."""
    chance, palette = scene.chance, scene.palette
    for row in range(3):
        blades, tone = [], mixed(palette.accent, palette.near, 0.35 - 0.1 * row)
        high = 0.1 + 0.05 * row
        for _ in range(round(60 * min(scene.width, 4.0))):
            x, y = chance.uniform(0, scene.width), 0.82 + 0.07 * row + chance.uniform(-0.02, 0.04)
            lean = high * chance.uniform(0.15, 0.35)
            blades.append(shapes.line((x, y + high), (x + lean, y), 0.0035))
            ear = 0.018 + 0.006 * row
            blades.append(shapes.oval(x + lean, y, ear, ear * 0.27, chance.uniform(-0.95, -0.6)))
        scene.add(blades, mixed(tone, palette.light, 0.45), tone)


def _windmill(scene: Scene, x: float, foot: float) -> None:
    palette, size, at = scene.palette, scene.unit * 0.42, (x, foot + 0.02)
    pale, shaded = mixed(palette.light, palette.horizon, 0.4), palette.depth(0.5)
    scene.add(placed_all([figures.MILL], at, size), pale, shaded, shade="across")
    scene.add(placed_all([figures.MILL_CAP], at, size), palette.accent, palette.near)
    hub = (x, at[1] - size * 0.6)
    turn = scene.chance.uniform(0.2, 1.3)
    blade = shapes.placed(figures.MILL_SAIL, (0, 0), size)
    sails = [shapes.turned(blade, hub, turn + k * 1.5708) for k in range(4)]
    scene.add(sails, palette.depth(0.85), opacity=0.9)


def _flowers(scene: Scene) -> None:
    chance, palette = scene.chance, scene.palette
    kinds = [palette.accent, mixed(palette.accent, palette.light, 0.6), palette.light]
    kinds = [palette.accent] * 3 if scene.names("poppy", "tulip", "rose") else kinds
    count = round(24 * min(max(0.6, scene.width), 4.0))
    places = sorted(chance.uniform(0.7, 0.97) for _ in range(count))
    flowers = [
        shapes.flower(
            chance,
            x=chance.uniform(0, scene.width),
            y=y,
            size=scene.unit * (0.008 + 0.14 * (y - 0.68)) * chance.uniform(0.75, 1.2),
        )
        for y in places
    ]
    for row in (flowers[: count // 2], flowers[count // 2 :]):
        greens = chain.from_iterable(green for green, _, _ in row)
        scene.add(greens, palette.depth(0.75), palette.near)
        for k, kind in enumerate(kinds):
            petals = chain.from_iterable(petals for _, petals, _ in row[k::3])
            scene.add(petals, mixed(kind, palette.light, 0.25), kind)
        hearts = [heart for _, _, heart in row]
        scene.add(hearts, palette.near, mixed(palette.accent, palette.near, 0.6))

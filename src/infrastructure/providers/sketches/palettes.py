"""The colours of sketches, by the mood and the colours that a prompt names."""

from __future__ import annotations

import random
from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """The colours of a sketch, from the sky down to what is near."""

    zenith: Colour
    sky: Colour
    horizon: Colour
    light: Colour
    far: Colour
    near: Colour
    accent: Colour

    @property
    def dark(self) -> bool:
        """Whether stars would be seen."""
        return sum(self.zenith) < 180

    def depth(self, part: float) -> Colour:
        """The colour of something that is `part` (0 to 1) of the way from far to near."""
        return mixed(self.far, self.near, part)


def mixed(a: Colour, b: Colour, part: float) -> Colour:
    """`part` (0 to 1) of the way from one colour to another."""
    return (
        round(a[0] + (b[0] - a[0]) * part),
        round(a[1] + (b[1] - a[1]) * part),
        round(a[2] + (b[2] - a[2]) * part),
    )


def colour(code: str) -> Colour:
    """A colour from its six hexadecimal digits."""
    return (int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16))


# zenith, sky, horizon, light, far, near, accent
PALETTES = {
    "dawn": "4b5d8a b08ea2 f7c9a6 fff1cf c79a9f 2b2f4a e4572e",
    "noon": "4f9bcb a4d4e6 f1f5e8 fffbe6 9fc2b8 1f4d3f f2a541",
    "dusk": "2d2a55 8f3f71 f28b57 ffd9a0 b3566b 1c1533 f2545b",
    "night": "0b1026 1d2b53 4a6a94 f4f1de 3a5380 060914 ffd166",
    "storm": "39424e 6b7884 b9c0c0 e8ebe4 808c93 1e252c c8553d",
    "autumn": "7a9e9f e0c9a6 f6e3bf fff4d6 d08c4f 4a2318 bc4b27",
    "winter": "7d9cc0 bcd0e0 f2efe9 ffffff aabfd3 2b3f57 c1485a",
    "desert": "3c7a89 e9c9a3 fbe3b9 fff3d0 e0a370 6b2d1f 2f6f62",
    "spring": "78b3d6 cfe8e0 fdf0d5 fffaf0 a8cf9b 2e5339 ef6f83",
    "neon": "120b2e 44196b d0387f ffe3f1 6b2f94 0b0719 3ef0e4",
    "print": "184e57 4f9d90 e9e1c6 fff6df 7fb5a0 12323a f26b4e",
}
MOODS = {
    "neon": "neon cyberpunk robot synthwave future futuristic tokyo",
    "night": "night midnight moon moonlight moonlit dark star galaxy space planet universe nebula "
    "owl",
    "dusk": "dusk sunset evening twilight romantic dragon volcano fire",
    "dawn": "dawn sunrise morning mist misty calm quiet dream",
    "winter": "winter snow snowy ice icy frozen christmas glacier cold arctic penguin",
    "autumn": "autumn fall october harvest leaf pumpkin fox wheat",
    "storm": "storm rain rainy fog foggy gloomy thunder whale",
    "desert": "desert dune sand camel pyramid canyon cactus mars",
    "spring": "spring flower garden meadow blossom bee butterfly rabbit poppy tulip",
    "noon": "noon day summer sunny beach holiday field bright",
}
TINTS = {
    "red": "c8322b", "crimson": "a4133c", "orange": "f08a24", "yellow": "f2c230", "gold": "d9a521",
    "golden": "d9a521", "green": "3d8b4f", "emerald": "1f8a70", "teal": "1f8a8a", "blue": "2f6fc4",
    "indigo": "3f3fa0", "purple": "7b3fa0", "violet": "7b3fa0", "pink": "ee7fa8", "brown": "7a4f2d",
}  # fmt: skip  # a table is read by its columns


ALONE = (0.35, 0.4, 0.3, 0.0, 0.45, 0.12, 0.3)  # how strongly a colour tints each part of a palette
IN_THE_SKY = (0.45, 0.4, 0.1, 0.0, 0.1, 0.05, 0.0)
ON_THE_LAND = (0.0, 0.0, 0.1, 0.0, 0.5, 0.2, 0.0)
ON_THINGS = (0.0, 0.0, 0.05, 0.0, 0.05, 0.0, 0.8)
PLACES = {
    "blue": IN_THE_SKY, "indigo": IN_THE_SKY, "violet": IN_THE_SKY, "purple": IN_THE_SKY,
    "teal": IN_THE_SKY, "green": ON_THE_LAND, "emerald": ON_THE_LAND, "brown": ON_THE_LAND,
}  # fmt: skip  # a table is read by its columns


def palette_for(words: frozenset[str], chance: random.Random) -> Palette:
    """The mood the prompt names, else any; a colour it names tints all but the light.

    Of several colours each tints what often has it: the sky, the land, or single things.
    """
    moods = [mood for mood, named in MOODS.items() if not words.isdisjoint(named.split())]
    tints = sorted(words & TINTS.keys())
    mood = [*moods, "noon" if tints else chance.choice(sorted(PALETTES))][0]
    colours = [colour(code) for code in PALETTES[mood].split()]
    for word in tints:
        tint = colour(TINTS[word])
        strengths = ALONE if len(tints) == 1 else PLACES.get(word, ON_THINGS)
        colours = [mixed(c, tint, part) for c, part in zip(colours, strengths, strict=True)]
    return Palette(*colours)

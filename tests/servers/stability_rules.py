"""What Stability takes and refuses: the fields of each route, as its OpenAPI document has them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL import Image
from starlette.datastructures import FormData, UploadFile

MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_SEED = 4_294_967_294
RATIOS = ("21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21")
FORMATS = ("png", "jpeg", "webp")
STYLES = (
    *("3d-model", "analog-film", "anime", "cinematic", "comic-book", "digital-art", "enhance"),
    *("fantasy-art", "isometric", "line-art", "low-poly", "modeling-compound", "neon-punk"),
    *("origami", "photographic", "pixel-art", "tile-texture"),
)
SD3_MODELS = ("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash")
MODES = ("text-to-image", "image-to-image")
LONGEST_SIDE = {"ultra": 16_384, "sd3": 1_000_000}
PICTURE, NOTHING = "image", "none"

Check = Callable[[str], str | None]
"""What is wrong with a value, in words; None when nothing is."""


def _length(least: int, most: int) -> Check:
    def check(value: str) -> str | None:
        return None if least <= len(value) <= most else f"must be {least} to {most} characters long"

    return check


def _one_of(values: tuple[str, ...]) -> Check:
    return lambda value: None if value in values else f"must be one of {', '.join(values)}"


def _number(least: float, most: float) -> Check:
    def check(value: str) -> str | None:
        try:
            is_within = least <= float(value) <= most
        except ValueError:
            return "must be a number"
        return None if is_within else f"must be between {least} and {most}"

    return check


COMMON: Mapping[str, Check] = {
    "prompt": _length(1, 10_000),
    "negative_prompt": _length(0, 10_000),
    "aspect_ratio": _one_of(RATIOS),
    "seed": _number(0, MAX_SEED),
    "output_format": _one_of(FORMATS),
    "style_preset": _one_of(STYLES),
}
FIELDS: Mapping[str, Mapping[str, Check]] = {
    "core": COMMON,
    "ultra": {**COMMON, "strength": _number(0, 1)},
    "sd3": {
        **COMMON,
        "strength": _number(0, 1),
        "mode": _one_of(MODES),
        "model": _one_of(SD3_MODELS),
        "cfg_scale": _number(1, 10),
    },
}


@dataclass
class Wish:
    """The fields of a request as they came, and what is wrong with them."""

    route: str
    fields: dict[str, str] = field(default_factory=dict)
    image: bytes | None = None
    image_size: tuple[int, int] | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def format(self) -> str:
        return self.fields.get("output_format", "png")

    @property
    def model(self) -> str:
        return self.fields.get("model", SD3_MODELS[0]) if self.route == "sd3" else self.route


async def read(route: str, form: FormData) -> Wish:
    """Everything that is in a form, with all that is wrong about it."""
    wish = Wish(route)
    for name, value in form.multi_items():
        if name in wish.fields or (name == PICTURE and wish.image is not None):
            wish.errors.append(f"{name}: must be given once")
        elif isinstance(value, UploadFile):
            await _read_file(wish, name, value)
        else:
            _read_field(wish, name, value)
    if "prompt" not in wish.fields:
        wish.errors.append("prompt: is required")
    _check_together(wish)
    return wish


async def _read_file(wish: Wish, name: str, file: UploadFile) -> None:
    data = await file.read()
    if name == NOTHING and not data:
        return
    if name != PICTURE or wish.route == "core":
        wish.errors.append(f"{name}: is not allowed")
        return
    wish.image = data
    wish.errors += _wrong_with_image(wish, data)


def _read_field(wish: Wish, name: str, value: str) -> None:
    wish.fields[name] = value
    check = FIELDS[wish.route].get(name)
    if check is None:
        wish.errors.append(f"{name}: is not allowed")
    elif wrong := check(value):
        wish.errors.append(f"{name}: {wrong}")


def _wrong_with_image(wish: Wish, data: bytes) -> list[str]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind, wish.image_size = (image.format or "").lower(), image.size
            image.load()
    except (OSError, SyntaxError) as error:
        return [f"image: is not an image ({type(error).__name__})"]
    wrong = [] if kind in FORMATS else ["image: must be jpeg, png or webp"]
    if not 64 <= min(wish.image_size) <= max(wish.image_size) <= LONGEST_SIDE[wish.route]:
        wrong.append(f"image: sides must be between 64 and {LONGEST_SIDE[wish.route]} pixels")
    return wrong


def _check_together(wish: Wish) -> None:
    """The rules of fields that need or forbid each other."""
    given = {*wish.fields, *([PICTURE] if wish.image is not None else [])}
    by_image = wish.fields.get("mode") == "image-to-image"
    required, forbidden = set[str](), set[str]()
    if wish.route == "ultra" and wish.image is not None:
        required = {"strength"}
    if wish.route == "sd3" and by_image:
        required, forbidden = {PICTURE, "strength"}, {"aspect_ratio"}
    elif wish.route == "sd3":
        forbidden = {PICTURE, "strength"}
    wish.errors += [f"{name}: is required" for name in sorted(required - given)]
    wish.errors += [f"{name}: is not allowed" for name in sorted(forbidden & given)]

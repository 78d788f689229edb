"""Whether images that are sent along with one prompt fit together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from application.ports.images import (
    MOST_BYTES_TOGETHER,
    MOST_PIXELS_TOGETHER,
    ImageFacts,
    TooMuchTogetherError,
)
from domain.image import PublishedImage

Place = int | Literal["mask"]
"""Which of the images of a request: a reference by its index, or the mask."""

MASK_OF_NOTHING = "A mask says what of a reference image is painted anew. Send that image, too."
MASK_WITHOUT_ALPHA = (
    "The mask is no PNG with an alpha channel. Send one: where it is transparent, the first"
    " reference image is painted anew."
)


class UnusableReferencesError(Exception):
    """Some of the images cannot be used; `reasons` says why, by their place."""

    def __init__(self, reasons: Mapping[Place, str]) -> None:
        self.reasons = reasons
        super().__init__(
            f"{len(reasons)} of the reference images cannot be used. "
            "Send complete PNG, JPEG or WebP images, or ids of completed generations of yours."
        )


def too_much_with(
    files: Mapping[Place, bytes], pictures: Mapping[Place, PublishedImage]
) -> dict[Place, TooMuchTogetherError]:
    """Those pictures that are too many beside the files and the pictures before them."""
    refused: dict[Place, TooMuchTogetherError] = {}
    pixels, size = 0, sum(map(len, files.values()))
    for place, picture in pictures.items():
        pixels += picture.width * picture.height
        size += picture.bytes
        if pixels > MOST_PIXELS_TOGETHER:
            refused[place] = TooMuchTogetherError(MOST_PIXELS_TOGETHER)
        elif size > MOST_BYTES_TOGETHER:
            refused[place] = TooMuchTogetherError(MOST_BYTES_TOGETHER, "bytes")
    return refused


def refuse_unfit_mask(mask: ImageFacts, first: ImageFacts) -> None:
    """Raises UnusableReferencesError unless it is one, as large as the first reference image."""
    if mask.content_type != "image/png" or not mask.alpha:
        raise UnusableReferencesError({"mask": MASK_WITHOUT_ALPHA})
    if (mask.width, mask.height) != (first.width, first.height):
        raise UnusableReferencesError(
            {
                "mask": f"The mask is {mask.width}x{mask.height}, the first reference image"
                f" {first.width}x{first.height}, turned upright. Send a mask of the same size."
            }
        )

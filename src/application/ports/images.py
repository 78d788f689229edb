"""Where pictures are looked at and kept, and what the log says about who keeps them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from application.ports.providers import Picture, ReferenceRules
from domain.image import ContentType, Format


@dataclass(frozen=True)
class ImageFacts:
    """What an image is by its content: size in pixels, provenance marks found in it.

    The marks: `c2pa`, content credentials; `iptc`, XMP that says that an algorithm made it. `alpha`
    says whether its pixels can be transparent.
    """

    content_type: ContentType
    width: int
    height: int
    sha256: str
    provenance: tuple[str, ...] = ()
    alpha: bool = False


class NotAnImageError(Exception):
    """The bytes are no complete PNG, JPEG or WebP image of a sane size; the message says why."""


MOST_PIXELS_TOGETHER = 100_000_000  # of images that belong together
MOST_BYTES_TOGETHER = 64 * 1024 * 1024


class TooMuchTogetherError(NotAnImageError):
    """Each alone would do."""

    def __init__(self, most: int, of: str = "pixels") -> None:
        super().__init__(
            f"The images have more than {most} {of} together. Send fewer or smaller ones."
        )


class ImageInspector(Protocol):
    """Looks into images, outside the event loop."""

    async def inspect(self, data: bytes) -> ImageFacts:
        """Decode all of it. Raises NotAnImageError."""
        ...

    async def inspect_all(
        self, images: Sequence[bytes], *, besides: int = 0
    ) -> list[ImageFacts | NotAnImageError]:
        """Decode images that belong together; why not, in the place of a refused one.

        `besides` counts the pixels of others that belong to them, and are known already.
        """
        ...


class ImageEditor(Protocol):
    """Makes pictures fit, outside the event loop. Each may raise NotAnImageError."""

    async def cleaned(self, data: bytes) -> bytes:
        """A reference image as we keep it: upright, without EXIF, GPS, XMP, IPTC, comments.

        Pixels and colour profile stay; the bytes, too, where there is nothing to do. Content
        credentials (C2PA) stay only then.
        """
        ...

    async def prepared(self, picture: Picture, rules: ReferenceRules) -> Picture:
        """A reference image as a model takes it, by format, bytes, pixels and sides.

        It carries nothing private, be it that it came so, and no content credentials.
        """
        ...

    async def prepared_mask(self, mask: Picture, like: Picture) -> Picture:
        """A PNG as large as the prepared reference, below 4 MB; alpha 0 is painted anew.

        The mask is as large as the reference was before.
        """
        ...

    async def converted(self, data: bytes, format_: Format, compression: int | None) -> bytes:
        """The same picture in another format; `compression` is its quality, from 0 to 100.

        What is transparent becomes white in a JPEG.
        """
        ...


class ImageStoreUnavailableError(Exception):
    """The image store cannot take or give bytes now; the message says why, without a key."""


class ObjectDiffersError(Exception):
    """Other bytes lie under this key already, and objects never change."""

    def __init__(self) -> None:
        super().__init__(
            "Other bytes lie under this key already, and objects never change. "
            "Store the image under the key that carries its own hash."
        )


class ObjectTooLargeError(Exception):
    """The image store takes no object of this size, however often one tries."""

    def __init__(self) -> None:
        super().__init__(
            "The image store takes no picture as large as this one. "
            "Raise its limit, or let smaller ones be made."
        )


class ImageKeyRefusedError(ValueError):
    """No object can lie under such a key."""

    def __init__(self) -> None:
        super().__init__(
            "The key of an image is images/{generation}/{name} or references/{user}/{name}, "
            "each part of letters, digits and hyphens, with the extension png, jpg or webp."
        )


class ImageNotFoundError(Exception):
    """No object lies under this key."""


@dataclass(frozen=True)
class SeenObject:
    """An object that lies in the image store; `age` is the time since it was last put."""

    key: str
    age: timedelta


@dataclass(frozen=True)
class SeenObjects:
    """Some of what lies in the image store; `leftovers` of killed puts were removed on the way.

    `unreadable` files and folders were passed by.
    """

    objects: Sequence[SeenObject]
    leftovers: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class Mark:
    """Says in an image store that a log uses it, and how far that log had come.

    Position 0 is an empty log. `recorded_at` tells the event at that position from another one that
    took its place after a backup was restored.
    """

    log: UUID
    position: int
    recorded_at: datetime


class Log(Protocol):
    """The log as the one among others that may use an image store.

    Each may raise StoreUnavailableError.
    """

    async def end(self) -> Mark:
        """How far it has come."""
        ...

    async def not_mine(self, marks: Sequence[Mark]) -> Sequence[Mark]:
        """Those of other logs, or of events that this one does not have (any more)."""
        ...

    async def age(self) -> timedelta:
        """How long ago it was made; a restored copy is as old as what it is a copy of."""
        ...

    async def clock(self) -> datetime:
        """The clock of the machine that it lives on, which may step back."""
        ...


class ImageStore(Protocol):
    """Objects under keys (see domain.image); an object never changes once it is there.

    Whatever is asked of it by something that is no such key raises ImageKeyRefusedError.
    """

    async def put(self, key: str, data: bytes, content_type: ContentType) -> None:
        """Store durably; the same bytes again are no error, and make the object young again.

        Raises ImageStoreUnavailableError, ObjectDiffersError, ObjectTooLargeError.
        """
        ...

    async def get(self, key: str) -> bytes:
        """Raises ImageNotFoundError, ImageStoreUnavailableError."""
        ...

    async def holds(self, key: str, *, sha256: str) -> bool:
        """Whether exactly these bytes can be read there. Raises ImageStoreUnavailableError."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; absent ones are no error. Raises ImageStoreUnavailableError."""
        ...

    def walk(self, *, at_once: int) -> AsyncGenerator[SeenObjects]:
        """Look at every object, in no order, at most `at_once` entries at a time.

        What is put or removed meanwhile may be seen or not. Raises ImageStoreUnavailableError.
        """
        ...

    async def forget(self, key: str, *, older_than: timedelta) -> bool:
        """Remove an object unless it was put within that time, whoever puts it again meanwhile.

        Whether it was removed. Raises ImageStoreUnavailableError.
        """
        ...

    async def marks(self) -> Sequence[Mark]:
        """Those that logs have left here. Raises ImageStoreUnavailableError."""
        ...

    async def mark(self, mark: Mark, *, instead_of: Sequence[Mark] = ()) -> None:
        """Leave a mark durably, then remove others. Raises ImageStoreUnavailableError."""
        ...

    def url(self, key: str) -> str:
        """The permanent public URL of an image; it does not say whether it is there."""
        ...

    async def close(self) -> None:
        """Let go of connections; nothing is asked any more."""
        ...


class NamedReferences(Protocol):
    """Which reference images and masks the history still needs."""

    async def among(self, keys: Sequence[str]) -> set[str] | None:
        """Those that a generation names which is not deleted; None when that is not known now.

        What was recorded within the last hour may be missing. Raises StoreUnavailableError.
        """
        ...


class SpoolFullError(Exception):
    """The spool takes no more bytes."""


class Spool(Protocol):
    """Where answered pictures wait, next to the log, while the image store takes none. Bounded."""

    async def put(self, key: str, data: bytes) -> None:
        """Keep durably; again is no error. Raises SpoolFullError, StoreUnavailableError."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The bytes, None when they are not (or no longer) here."""
        ...

    async def remove(self, key: str) -> None:
        """Forget them; absent ones are no error."""
        ...

"""Pictures as files: the right name, the bytes that were recorded, nothing overwritten."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interfaces.cli.client import Client
from interfaces.cli.endings import CommandError, Exit

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
EXTENSIONS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


@dataclass(frozen=True)
class Destination:
    """Where pictures go: into a folder, named after their generation, or to files of one name."""

    folder: Path
    name: str | None = None
    extension: str = ""
    overwrite: bool = False

    @classmethod
    def of(cls, out: str, *, overwrite: bool = False) -> Destination:
        """Read `--out`: what ends like a picture is a file, else it is a folder."""
        path = Path(out).expanduser()
        if path.is_dir() or out.endswith(os.sep) or not path.suffix:
            return cls(path, overwrite=overwrite)
        if path.suffix.lower() not in FORMATS:
            raise CommandError(
                f"--out {out} is neither a folder nor a picture's name: let it end in .png, .jpg or"
                " .webp, or in / for a folder.",
                Exit.MISUSED,
            )
        return cls(path.parent, path.stem, path.suffix, overwrite)

    @property
    def format(self) -> str | None:
        """The format that the name asks for."""
        return FORMATS.get(self.extension.lower())

    def refuse_unless_usable(self, count: int) -> None:
        """Find out before a picture is paid for that it cannot be kept."""
        nearest = next(
            place for place in (self.folder, *self.folder.absolute().parents) if place.exists()
        )
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise CommandError(
                f"Nothing can be written to {self.folder}: choose another folder with --out.",
                Exit.MISUSED,
            )
        if self.name and not self.overwrite:
            for number in range(1, count + 1):
                _refuse_existing(self._path("", number, count, self.extension))

    def path_of(self, generation: dict[str, Any], number: int) -> Path:
        """The file of a picture, numbered from 1; its content decides how the name ends."""
        image = generation["images"][number - 1]
        extension = EXTENSIONS.get(image["contentType"], "")
        if FORMATS.get(extension) == self.format:
            extension = self.extension  # .jpeg, if that is how it was written
        return self._path(generation["id"], number, len(generation["images"]), extension)

    def _path(self, id_: str, number: int, count: int, extension: str) -> Path:
        stem = self.name or id_
        numbered = f"{stem}-{number}" if count > 1 or not self.name else stem
        return self.folder / f"{numbered}{extension}"


def save(client: Client, generation: dict[str, Any], destination: Destination) -> list[Path]:
    """Download every picture of a generation, compare it with its record, and write it."""
    paths = []
    for number, image in enumerate(generation["images"], 1):
        data = client.download(image["url"])
        if hashlib.sha256(data).hexdigest() != image["sha256"]:
            raise CommandError(
                f"What lies at {image['url']} is not the picture that was recorded: nothing was"
                " written. Tell whoever runs the service."
            )
        path = destination.path_of(generation, number)
        _write(path, data, overwrite=destination.overwrite)
        paths.append(path)
    return paths


def _write(path: Path, data: bytes, *, overwrite: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not overwrite and path.exists():
            if path.read_bytes() == data:
                return  # saved before
            _refuse_existing(path)
        with open(path, "wb" if overwrite else "xb") as file:
            _write_whole(file, path, data)
    except OSError as error:
        raise CommandError(f"{path} cannot be written ({error.strerror}).") from error


def _write_whole(file: Any, path: Path, data: bytes) -> None:
    try:
        file.write(data)
        file.flush()
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()  # half a picture is none
        raise


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise CommandError(
            f"{path} is there already: choose another name with --out, or say --overwrite.",
            Exit.MISUSED,
        )

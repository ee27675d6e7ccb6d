"""The image below ours: Python on Docker Hub, or Debian's Python put together here where no registry is reachable."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.image.engines import Engine
from scripts.image.errors import ImageError
from scripts.image.tools import install_packages, say

REGISTRY_BASE = "docker.io/library/python:3.11-slim"
DEBIAN_BASE = "localhost/freeze-bench-debian:12-python3.11"

_SUITE = "bookworm"
_PACKAGES = "ca-certificates,python3,python3-venv"
_LEFT_OUT = (
    "dev/*",
    "etc/hostname",
    "etc/resolv.conf",
    "usr/share/info/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "var/log/*",
)
"""Lists, logs, caches, manuals, and what is this machine's. Copyright files stay: their licences ask for them."""


def find_base(engine: Engine, asked: str | None) -> str:
    """Return the name of an image to build upon, making it if need be.

    Args:
        engine: Where the image is to be.
        asked: A name, ``debian`` for the one that is made here, or None: Docker Hub's if it can be had.
    """
    if asked not in (None, "debian"):
        return asked
    if asked is None and (engine.find(REGISTRY_BASE) or _is_pulled(engine)):
        return REGISTRY_BASE
    if engine.find(DEBIAN_BASE) is None:
        _make_debian(engine)
    return DEBIAN_BASE


def _is_pulled(engine: Engine) -> bool:
    """Fetch the base, unless an earlier build has found that it cannot be had and made another."""
    if engine.find(DEBIAN_BASE):
        say(f"Building on {DEBIAN_BASE}, made earlier. Another: --base {REGISTRY_BASE}")
        return False
    if engine.pull(REGISTRY_BASE):
        return True
    say(f"{REGISTRY_BASE} cannot be pulled. Making a base of Debian's packages instead, once.")
    return False


def _make_debian(engine: Engine) -> None:
    """Put the smallest Debian with Python together, from Debian's packages alone."""
    install_packages("debootstrap")
    with tempfile.TemporaryDirectory(prefix="freeze-bench-base-") as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.tar")
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ImageError(
                f"The Debian base could not be made: debootstrap ended with {done.returncode}: "
                f"{done.stdout.strip().rpartition(chr(10))[2]}",
                remedy="It needs root and Debian's package archive. Or name an image with Python 3.11: --base NAME",
            )
        _clean(root)
        # Sorted and without times, so that the same packages are the same layer.
        stable = ["--sort=name", "--mtime=@0", "--numeric-owner"]
        subprocess.run(["tar", *stable, "-C", str(root), "-cf", str(archive), "."], check=True)
        engine.load_root(archive, DEBIAN_BASE)


def _clean(root: Path) -> None:
    for pattern in _LEFT_OUT:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

"""What making images needs of the machine: a word to whoever waits, and Debian packages."""

import subprocess
import sys
from pathlib import Path

from scripts.image.errors import ImageError

_INSTALL = Path(__file__).parents[1] / "install-debian-packages"


def say(text: str) -> None:
    """Tell whoever waits what goes on. Standard output is kept for what was made."""
    print(text, file=sys.stderr, flush=True)


def install_packages(*names: str) -> None:
    """Install Debian packages that are not there yet.

    Raises:
        ImageError: They could not be installed; the script has said why.
    """
    if subprocess.run([_INSTALL, *names], check=False).returncode:
        raise ImageError(f"Without {', '.join(names)} no image can be made.", remedy="See above.")

"""Prometheus and its promtool, as Debian's package ``prometheus`` has them."""

import shutil
import subprocess
from pathlib import Path

INSTALL = Path(__file__).parents[1] / "scripts" / "install-debian-packages"


def find_prometheus_program(name: str) -> str:
    """Return the path of ``prometheus`` or ``promtool``, installing both first if this machine has not got them."""
    if not shutil.which(name):
        subprocess.run([INSTALL, "prometheus"], check=True)
    found = shutil.which(name)
    assert found, f"{name} is not on PATH, although its package is installed"
    return found


def run_promtool(*arguments: str | Path, text: str = "") -> "subprocess.CompletedProcess[str]":
    """Run promtool as a person would; what it says is in ``stdout`` and ``stderr``.

    Args:
        arguments: Of the command.
        text: What it reads from its standard input.
    """
    command = [find_prometheus_program("promtool"), *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

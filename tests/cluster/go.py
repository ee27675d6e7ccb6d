"""Go, with which the test cluster is built."""

import os
import re
import shutil
import subprocess
from functools import cache

NEEDED = (1, 26)
"""What the newest of the sources ask for."""

CAN_FETCH = (1, 21)
"""From here on, Go fetches a newer Go by itself where it may."""


class BuildError(Exception):
    """A program could not be built; the message is what a person should read."""


def run_go(*arguments: str, **variables: str) -> str:
    """Run Go at low priority: minutes of compiling should not slow down whatever else is tested meanwhile.

    Raises:
        BuildError: There is no Go, or it has failed.
    """
    if shutil.which("go") is None:
        raise BuildError(f"the test cluster is built with Go, which is not on PATH; {_remedy()}")
    environment = {**os.environ, "CGO_ENABLED": "0", **variables}
    done = subprocess.run(
        ["nice", "-n", "10", "go", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"go {' '.join(arguments)} failed with exit code {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


@cache
def find_go_version() -> str:
    """Return what Go says of its version, if it can build the test cluster.

    Raises:
        BuildError: It cannot.
    """
    said = run_go("version")
    number = re.search(r"\bgo(\d+)\.(\d+)", said)
    version = (int(number[1]), int(number[2])) if number else NEEDED  # a development build names no number
    if version < CAN_FETCH:
        raise BuildError(f"the test cluster cannot be built with {said.strip()!r}; {_remedy()}")
    if version < NEEDED and "auto" not in (toolchain := run_go("env", "GOTOOLCHAIN").strip()):
        raise BuildError(
            f"the test cluster cannot be built with {said.strip()!r}, which may fetch no newer one "
            f"(GOTOOLCHAIN={toolchain}); set GOTOOLCHAIN=auto, or {_remedy()}"
        )
    return said


def _remedy() -> str:
    return (
        f"install Go {_dotted(NEEDED)}, or {_dotted(CAN_FETCH)} or later with GOTOOLCHAIN=auto (https://go.dev/dl), "
        "or set KUBECONFIG to a cluster that exists"
    )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))

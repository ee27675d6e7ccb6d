"""Helm as somebody with a kubeconfig uses it: the chart of this repository, installed for real."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.binaries import ROOT, find_program
from cluster.kubectl import Kubectl

CHART = ROOT / "charts"

READY_SECONDS = 240
"""How long a release may take until all of it is ready."""


class Helm:
    """Runs helm in one namespace of a cluster."""

    def __init__(self, kubectl: Kubectl) -> None:
        """Contact nobody yet."""
        self._cluster = [f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={kubectl.namespace}"]

    def run(self, *arguments: str, given: str | None = None, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command, with ``given`` as its standard input.

        Raises:
            AssertionError: It failed, and ``check`` is set.
        """
        done = subprocess.run(
            [str(find_program("helm")), *arguments, *self._cluster],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_SECONDS + 60,
        )
        assert not check or done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done

    def install(self, release: str, values: Mapping[str, Any], *options: str, chart: Path = CHART) -> str:
        """Install the chart, or change what is installed, wait until all is ready, and return the chart's notes."""
        waiting = ["--wait", f"--timeout={READY_SECONDS}s"]
        command = ["upgrade", "--install", release, str(chart), "--values=-", *waiting, *options]
        return self.run(*command, given=json.dumps(values)).stdout

    def uninstall(self, release: str) -> None:
        """Take a release away and wait until its objects are gone; one that is not there is no trouble."""
        self.run("uninstall", release, "--ignore-not-found", "--wait", f"--timeout={READY_SECONDS}s")

    def releases(self) -> list[str]:
        """Return the names of the releases, whatever state they are in."""
        return [str(release["name"]) for release in json.loads(self.run("list", "--output=json").stdout)]

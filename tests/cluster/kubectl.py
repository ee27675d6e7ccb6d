"""A cluster as somebody with a kubeconfig sees it: by kubectl, and by waiting for what it says to become so."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cluster.binaries import find_program

Document = dict[str, Any]


class Kubectl:
    """Runs kubectl with one kubeconfig, and in one namespace if that is given."""

    def __init__(self, kubeconfig: Path, namespace: str = "default") -> None:
        """Contact nobody yet."""
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def within(self, namespace: str) -> "Kubectl":
        """Return the same for another namespace."""
        return Kubectl(self.kubeconfig, namespace)

    def run(
        self, *arguments: str, given: str | None = None, check: bool = True, seconds: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command, with ``given`` as its standard input.

        Raises:
            AssertionError: It failed, and ``check`` is set.
        """
        command = [str(find_program("kubectl")), f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        done = subprocess.run(
            [*command, *arguments], input=given, capture_output=True, text=True, check=False, timeout=seconds
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Create or change objects."""
        items = {"apiVersion": "v1", "kind": "List", "items": documents}
        self.run("apply", "--filename=-", given=json.dumps(items))

    def create(self, document: Mapping[str, Any]) -> "subprocess.CompletedProcess[str]":
        """Try to create an object, and return what came of it."""
        return self.run("create", "--filename=-", given=json.dumps(document), check=False)

    def get(self, kind: str, name: str) -> Document | None:
        """Return an object, or nothing if there is none of that name."""
        answer = self.run("get", kind, name, "--ignore-not-found", "--output=json").stdout
        return dict(json.loads(answer)) if answer.strip() else None

    def list(self, kind: str, selector: str = "") -> "list[Document]":
        """Return the objects of a kind with certain labels."""
        return list(json.loads(self.run("get", kind, f"--selector={selector}", "--output=json").stdout)["items"])

    def delete(self, kind: str, name: str, *options: str) -> None:
        """Delete an object, and wait until it is gone unless the options say otherwise."""
        self.run("delete", kind, name, "--ignore-not-found", *options)

    def logs(self, name: str, *options: str) -> str:
        """Return what a pod, or ``job/NAME``, has printed."""
        return self.run("logs", name, *options).stdout

    def wait_for(self, kind: str, name: str, is_so: Callable[[Document], bool], *, seconds: float = 60) -> Document:
        """Wait until an object is there and something is so about it, and return it.

        Raises:
            AssertionError: It still is not; the message holds the object as it is.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = self.get(kind, name)
            if found is not None and is_so(found):
                return found
            assert time.monotonic() < deadline, f"{kind} {name} after {seconds} s: {json.dumps(found, indent=2)}"
            time.sleep(0.25)


def condition(found: Document, kind: str) -> Document | None:
    """Return a condition from an object's status, whatever it says."""
    conditions = found.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), None)


def is_true(found: Document, kind: str) -> bool:
    """Whether an object has a condition, and it is true."""
    entry = condition(found, kind)
    return entry is not None and entry["status"] == "True"

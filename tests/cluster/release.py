"""A release of the chart as its users reach it: Prefect and results through forwarded ports, with its auth string."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from cluster.binaries import ROOT
from cluster.enclosure import wait_until
from cluster.forwarding import forwarded
from cluster.kubectl import Document, Kubectl

PREFECT_PORT = 4200
RESULTS_PORT = 4280

FINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
"""Types of a flow run's last state."""

COMPARISON_SECONDS = 600.0
"""How long seven tiny arms may take, two at once, on a machine that is busy with the cluster itself."""


@dataclass(frozen=True)
class Release:
    """An installed release."""

    name: str
    kubectl: Kubectl
    prefect_url: str
    results_url: str
    auth_string: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command that uses this release, as the chart's notes say."""
        return {
            **os.environ,
            "PREFECT_API_URL": f"{self.prefect_url}/api",
            "PREFECT_API_AUTH_STRING": self.auth_string,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }

    def run(self, *words: str, seconds: float = COMPARISON_SECONDS) -> "subprocess.CompletedProcess[str]":
        """Run a command of this project's environment, from the repository's root."""
        command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=seconds
        )

    def start_comparison(self, *options: str) -> str:
        """Start the deployment as its users do, and return the id of the flow run."""
        done = self.run("prefect", "deployment", "run", "compare-backbones", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.search(r"UUID: ([0-9a-f-]{36})", done.stdout)
        assert found, done.stdout
        return found.group(1)

    def submit(self, plan: Path) -> str:
        """Submit a plan, and return the id of the flow run."""
        done = self.run("freeze-bench", "submit", str(plan))
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.search(r"/flow-run/([0-9a-f-]{36})", done.stdout)
        assert found, done.stdout
        return found.group(1)

    def ask_prefect(self, path: str, document: Document | None = None) -> Any:  # noqa: ANN401 - what the API says
        """Ask the Prefect API; with a document, by POST."""
        answer = self._ask(f"{self.prefect_url}/api/{path}", document)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def read_state(self, flow_run: str) -> Document:
        """Return the state of a flow run."""
        return dict(self.ask_prefect(f"flow_runs/{flow_run}")["state"])

    def wait_for_end(self, flow_run: str, seconds: float = COMPARISON_SECONDS) -> Document:
        """Wait until a flow run has ended, and return its last state."""
        wait_until(
            lambda: self.read_state(flow_run)["type"] in FINAL, f"the flow run {flow_run} to end", seconds=seconds
        )
        return self.read_state(flow_run)

    def cancel(self, flow_run: str) -> None:
        """Cancel a flow run, as the button in Prefect's UI does."""
        state = {"type": "CANCELLING", "name": "Cancelling"}
        self.ask_prefect(f"flow_runs/{flow_run}/set_state", {"state": state})

    def read_result(self, path: str) -> bytes:
        """Return a file of the results store."""
        answer = self._ask(f"{self.results_url}/{path}")
        answer.raise_for_status()
        return answer.content

    def find_result(self, path: str) -> bytes | None:
        """Return a file of the results store, or nothing if it is not there yet."""
        try:
            answer = httpx.get(f"{self.results_url}/{path}", auth=self._auth, timeout=30)
        except httpx.TransportError:
            return None  # the runner is being changed
        return answer.content if answer.is_success else None

    def status(self, comparison: str, arm: str) -> Document:
        """Return what the flow says of an arm; empty before it has said anything."""
        found = self.find_result(f"{comparison}/runs/{arm}/status.json")
        return dict(json.loads(found)) if found else {}

    def jobs(self, selector: str = "freeze-bench/comparison") -> list[Document]:
        """Return the Jobs that the runner has made."""
        return self.kubectl.list("jobs", selector)

    def pods(self, selector: str = "freeze-bench/comparison") -> list[Document]:
        """Return the pods of those Jobs."""
        return self.kubectl.list("pods", selector)

    def job_of(self, comparison: str, arm: str) -> Document:
        """Return the Job of an arm."""
        (job,) = self.jobs(f"freeze-bench/comparison={comparison},freeze-bench/arm={arm}")
        return job

    def wait_for_step(self, comparison: str, arm: str, step: int, *, seed: int = 0, seconds: float = 180) -> None:
        """Wait until the curve of one seed of an arm has come to a step."""

        def has_come() -> bool:
            curve = self.find_result(f"{comparison}/runs/{arm}/seed-{seed}/curve.jsonl")
            return curve is not None and len(curve.splitlines()) > step

        wait_until(has_come, f"{arm} to come to step {step}", seconds=seconds)

    def wait_for_detail(self, comparison: str, arm: str, words: str, states: Sequence[str] = ("queued",)) -> None:
        """Wait until an arm waits, and it is told what for."""

        def is_told() -> bool:
            status = self.status(comparison, arm)
            return status.get("state") in states and words in status["detail"]

        wait_until(is_told, f"{arm} of {comparison} to wait: {words}", seconds=120)

    def _ask(self, address: str, document: Document | None = None) -> httpx.Response:
        """Ask, again while the forwarded port is not there: it goes with its pod, and with the kubelet."""
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            method = "GET" if document is None else "POST"
            try:
                answers.append(httpx.request(method, address, json=document, auth=self._auth, timeout=30))
            except httpx.TransportError:
                return False
            return answers[-1].status_code != HTTPStatus.SERVICE_UNAVAILABLE  # what is behind it is busy

        wait_until(is_answered, f"{address} to answer", seconds=120)
        return answers[-1]

    @property
    def _auth(self) -> tuple[str, str]:
        user, _, password = self.auth_string.partition(":")
        return user, password


@contextmanager
def reached(name: str, kubectl: Kubectl) -> Iterator[Release]:
    """Forward the ports of a release, as the chart's notes say, for as long as the block lasts."""
    secret = kubectl.get("secret", f"{name}-auth")
    assert secret
    auth_string = base64.b64decode(secret["data"]["auth-string"]).decode()
    with (
        forwarded(kubectl, f"service/{name}-prefect", PREFECT_PORT) as prefect_port,
        forwarded(kubectl, f"service/{name}-results", RESULTS_PORT) as results_port,
    ):
        prefect_url, results_url = (f"http://127.0.0.1:{port}" for port in (prefect_port, results_port))
        yield Release(name, kubectl, prefect_url, results_url, auth_string)

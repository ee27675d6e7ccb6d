"""A release of the chart as its users reach it: Prefect and results through forwarded ports, with its auth string."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.binaries import ROOT, find_program
from cluster.enclosure import wait_until
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

    def _ask(self, address: str, document: Document | None = None) -> httpx.Response:
        """Ask, again while the forwarded port is not there: it goes with its pod, and with the kubelet."""
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            method = "GET" if document is None else "POST"
            try:
                answers.append(httpx.request(method, address, json=document, auth=self._auth, timeout=30))
            except httpx.TransportError:
                return False
            return True

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
        _forwarded(kubectl, f"service/{name}-prefect", PREFECT_PORT) as prefect_port,
        _forwarded(kubectl, f"service/{name}-results", RESULTS_PORT) as results_port,
    ):
        prefect_url, results_url = (f"http://127.0.0.1:{port}" for port in (prefect_port, results_port))
        yield Release(name, kubectl, prefect_url, results_url, auth_string)


class _Forwarding:
    """Runs ``kubectl port-forward`` again and again, by the same local port: it ends with the pod that it chose."""

    def __init__(self, kubectl: Kubectl, target: str, port: int) -> None:
        """Forward at once, and come back when connections are taken."""
        self._command = [str(find_program("kubectl")), f"--kubeconfig={kubectl.kubeconfig}"]
        self._command += [f"--namespace={kubectl.namespace}", "port-forward", target]
        self._port = port
        self._is_stopped = threading.Event()
        self._process = self._start("")
        self.local_port = self._read_port()
        self._thread = threading.Thread(target=self._keep_on, name=target, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped.set()
        self._process.terminate()
        self._thread.join()

    def _start(self, local_port: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self._command, f"{local_port}:{self._port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _read_port(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        found = re.search(r":(\d+) ->", line)
        assert found, line
        return found.group(1)

    def _keep_on(self) -> None:
        while True:
            self._process.communicate()
            if self._is_stopped.wait(0.5):
                return
            self._process = self._start(self.local_port)


@contextmanager
def _forwarded(kubectl: Kubectl, target: str, port: int) -> Iterator[str]:
    forwarding = _Forwarding(kubectl, target, port)
    try:
        yield forwarding.local_port
    finally:
        forwarding.stop()

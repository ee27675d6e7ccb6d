"""A Job on a cluster: from its creation to the first line of its container."""

import os
import time
import tomllib
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.measurement import Bench, Measurement
from cluster.kubectl import Document, Kubectl
from worker.contract.config import RUN_CONFIG_ENV, Execution, PrepareConfig
from worker.contract.plan import LANGUAGE_NAMES, DataSpec

_MAX_SECONDS = 180.0
_POLL_SECONDS = 0.25
"""Between looks for a line; the time of the line is the container's."""

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_REGISTRY_ENV = "FREEZE_BENCH_TEST_REGISTRY"
"""Where the worker's image is from, as for the tests on a cluster."""


def start_worker_job(_bench: Bench) -> Measurement:
    """Have a worker prepare the demo's data, and return ``seconds`` until it says that it has started."""
    config = PrepareConfig(
        comparison="benchmark",
        name="prepare-data",
        answer="benchmark/answer.json",
        data=DataSpec(source=LANGUAGE_NAMES),
        execution=Execution(results="/tmp/results", cache="/tmp/cache", device="cpu"),  # noqa: S108 - in the container
    )
    variable = {"name": RUN_CONFIG_ENV, "value": config.model_dump_json()}
    return _measure({"command": ["python", "-m", "worker"], "env": [variable]})


def start_importing_job(_bench: Bench) -> Measurement:
    """Have the same container import torch, and return ``seconds`` until it says that it has."""
    return _measure({"command": ["python", "-c", "import torch; print('imported', flush=True)"]})


def _measure(container: Document) -> Measurement:
    """Run a container as a Job in a namespace of its own, and return the time to its first line.

    The clock of this machine says when the Job was created, as Kubernetes writes whole seconds; the node's says when
    the line was written. Run it where both are the same.
    """
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    kubectl = Kubectl(Path(os.environ["KUBECONFIG"]), name)
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        began = time.time()
        kubectl.apply(_build_job(name, container))
        return Measurement(values={"seconds": _first_line_at(kubectl, name) - began})
    finally:
        kubectl.delete("namespace", name, "--wait=false")


def _build_job(name: str, container: Document) -> Document:
    version = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["version"]
    registry = os.environ.get(_REGISTRY_ENV, "docker.io/library").rstrip("/")
    worker: dict[str, Any] = {
        "name": "worker",
        "image": f"{registry}/freeze-bench-worker:{version}",
        "imagePullPolicy": "IfNotPresent",
        **container,
    }
    pod = {"restartPolicy": "Never", "containers": [worker]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def _first_line_at(kubectl: Kubectl, job: str) -> float:
    """Return the Unix time of a Job's first line.

    Raises:
        TimeoutError: There is none after ``_MAX_SECONDS``.
    """
    deadline = time.monotonic() + _MAX_SECONDS
    while time.monotonic() < deadline:
        printed = kubectl.run("logs", f"job/{job}", "--timestamps", check=False).stdout
        if printed:
            return datetime.fromisoformat(printed.split(maxsplit=1)[0]).timestamp()
        time.sleep(_POLL_SECONDS)
    pods = kubectl.list("pod", f"job-name={job}")
    states = [pod.get("status", {}).get("containerStatuses", pod.get("status")) for pod in pods]
    raise TimeoutError(
        f"The Job {job} has printed nothing in {_MAX_SECONDS:.0f} s: {states}. Put the worker's image into the cluster "
        f"(`python -m scripts.image --torch cpu`), or name its registry in {_REGISTRY_ENV}."
    )

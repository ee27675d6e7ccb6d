"""The user's commands as they are written: the chart is installed, and seven tiny arms run as seven GPU Jobs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.binaries import ROOT
from cluster.helm import Helm
from cluster.kubectl import Document, Kubectl
from cluster.local_cluster import GPU, NUM_GPUS
from cluster.release import Release, reached

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

NAME = "freeze-bench"
NUM_STEPS = 110


@pytest.fixture
def release(namespace: Kubectl, helm: Helm, release_values: Document) -> Iterator[Release]:
    helm.install(NAME, release_values)
    with reached(NAME, namespace) as release:
        yield release


def test_the_users_commands_end_in_the_chart_of_seven_gpu_jobs(
    release: Release, helm: Helm, release_values: Document, tmp_path: Path
) -> None:
    assert helm.run("test", NAME).returncode == 0

    flow_run = release.start_comparison()
    state = release.wait_for_end(flow_run)

    assert state["type"] == "COMPLETED", state
    jobs = release.jobs("app.kubernetes.io/component=worker")
    assert len(jobs) == 7
    assert all(limits(job) == {GPU: "1"} for job in jobs)
    assert most_at_once(release.pods("app.kubernetes.io/component=worker")) <= NUM_GPUS
    assert_curves_of_local_processes(release, tmp_path)
    assert release.read_result("demo/comparison.png").startswith(b"\x89PNG")
    artifacts = release.ask_prefect("artifacts/latest/filter", {})
    assert {artifact["key"] for artifact in artifacts} >= {"demo-standings", "demo-chart"}

    before = release.read_result("demo/comparison.json")
    secret = release.kubectl.get("secret", f"{NAME}-auth")
    helm.install(NAME, {**release_values, "commonLabels": {"changed": "by-upgrade"}})

    changed = release.kubectl.get("secret", f"{NAME}-auth")
    assert secret
    assert changed
    assert changed["data"] == secret["data"]
    with reached(NAME, release.kubectl) as upgraded:
        assert upgraded.read_state(flow_run)["type"] == "COMPLETED"
        assert upgraded.read_result("demo/comparison.json") == before

    helm.uninstall(NAME)

    left = release.kubectl.run("get", "all,jobs,configmaps,secrets,pvc", "--output=name").stdout.split()
    assert [name for name in left if "kube-root-ca" not in name] == [f"persistentvolumeclaim/{NAME}-results"]


def limits(job: Document) -> Document:
    container = job["spec"]["template"]["spec"]["containers"][0]
    return {name: value for name, value in container["resources"]["limits"].items() if name == GPU}


def most_at_once(pods: list[Document]) -> int:
    """Return how many containers were running at the same moment, at most."""
    moments: list[tuple[str, int]] = []
    for pod in pods:
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        moments += [(ended["startedAt"], 1), (ended["finishedAt"], -1)]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def assert_curves_of_local_processes(release: Release, folder: Path) -> None:
    """Seven complete curves, byte for byte those of processes with as many threads on this machine."""
    places = ["--results", str(folder / "out"), "--cache", str(folder / "cache")]
    options = ["--set", "seeds=[0]", "--workers", "2"]
    command = [str(Path(sys.executable).parent / "freeze-bench"), "compare", str(ROOT / "plans" / "demo.toml")]
    done = subprocess.run([*command, *places, *options], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    runs = sorted((folder / "out" / "demo" / "runs").iterdir())
    assert len(runs) == 7
    for run in runs:
        name = f"demo/runs/{run.name}/seed-0"
        curve = release.read_result(f"{name}/curve.jsonl")
        assert [json.loads(line)["step"] for line in curve.splitlines()] == list(range(NUM_STEPS + 1))
        assert curve == (run / "seed-0" / "curve.jsonl").read_bytes(), run.name

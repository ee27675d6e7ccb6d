"""Arms and plans that cannot run: what ends them, what is said of it, and that nothing is torn."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.enclosure import wait_until
from cluster.helm import Helm
from cluster.kubectl import Document, Kubectl, condition, is_true
from cluster.local_cluster import GPU, LocalCluster
from cluster.long_arms import ARM, ChangeRelease, Submit, assert_completed, attempts, write_plan
from cluster.release import Release, reached
from flows.job_status import Stage, view_worker
from worker.contract.errors import ExitCode

pytestmark = [pytest.mark.system, pytest.mark.full, pytest.mark.timeout(900)]


def test_an_image_that_cannot_be_had_is_said_and_can_be_cancelled(
    release: Release, submit: Submit, changed_release: ChangeRelease, release_values: Document
) -> None:
    images = {**release_values["images"], "worker": {"repository": "127.0.0.1:1/none/worker", "tag": "none"}}
    changed_release(images=images)
    flow_run = submit("wrong-image", steps=10)

    # Its data is prepared with that image, too.
    release.wait_for_detail("wrong-image", ARM, "image", ["waiting", "queued"])

    release.cancel(flow_run)
    assert release.wait_for_end(flow_run, seconds=90)["type"] == "CANCELLED"


@pytest.mark.parametrize(
    ("worker", "exit_code", "words"),
    [
        ({"device": "cuda"}, ExitCode.DEVICE, "a GPU and torch sees none"),
        ({"resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "150Mi"}}}, 137, "memory"),
    ],
    ids=["no CUDA", "memory"],
)
def test_an_arm_that_cannot_run_fails_with_its_reason(
    release: Release,
    submit: Submit,
    changed_release: ChangeRelease,
    worker: Document,
    exit_code: int,
    words: str,
) -> None:
    comparison = f"exit-{int(exit_code)}"
    changed_release(worker=worker, jobs={"maxRetries": 0})

    state = release.wait_for_end(submit(comparison, steps=10))

    assert state["type"] == "FAILED"
    failure = json.loads(release.read_result(f"{comparison}/runs/{ARM}/status.json"))["failure"]
    assert failure["exit_code"] == exit_code
    assert words.lower() in failure["problem"].lower()
    assert len(release.pods(f"freeze-bench/comparison={comparison},freeze-bench/mode")) == 1


def test_a_document_that_the_worker_does_not_take_is_not_tried_again(release: Release, submit: Submit) -> None:
    assert_completed(release, submit("exit-40", steps=10))
    job = release.job_of("exit-40", ARM)
    template = job["spec"]["template"]
    for label in ("controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"):
        template["metadata"]["labels"].pop(label, None)
    template["metadata"]["annotations"]["freeze-bench/config"] = '{"kind": "run"}'
    kept = {key: value for key, value in job["spec"].items() if key not in {"selector", "completionMode"}}
    spoilt = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "spoilt", "labels": job["metadata"]["labels"]},
        "spec": kept,
    }

    created = release.kubectl.create(spoilt)

    assert created.returncode == 0, created.stderr
    failed = release.kubectl.wait_for("job", "spoilt", lambda found: is_true(found, "Failed"), seconds=120)
    pods = release.kubectl.list("pods", "batch.kubernetes.io/job-name=spoilt")
    view = view_worker(failed, pods)
    assert len(pods) == 1
    assert (condition(failed, "Failed") or {})["reason"] == "PodFailurePolicy"
    assert view.stage is Stage.FAILED
    assert view.exit_code == ExitCode.CONFIG
    assert view.diagnosis
    assert "document is not valid" in view.diagnosis.problem
    release.kubectl.delete("job", "spoilt")


@pytest.mark.parametrize(
    ("values", "plan", "words"),
    [
        ({"worker": {"gpu": {"enabled": True, "count": 8}}}, "", GPU),
        ({}, '\n[[arms]]\nlabel = "Hidden"\nbackbone = "/home/me/model"\nmode = "frozen"\n', "/home/me/model"),
    ],
    ids=["not enough GPUs", "a path that pods cannot see"],
)
def test_a_plan_that_cannot_run_is_refused_before_a_job_exists(
    release: Release,
    changed_release: ChangeRelease,
    tmp_path: Path,
    values: Document,
    plan: str,
    words: str,
) -> None:
    changed_release(**values)
    path = tmp_path / "refused.toml"
    path.write_text(write_plan("refused", "Live qwen3", steps=10) + plan, encoding="utf-8")

    done = release.run("freeze-bench", "submit", str(path), "--watch", "--shared-paths")

    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert release.jobs("freeze-bench/comparison=refused") == []


def test_a_full_results_volume_fails_the_arm_and_tears_nothing(
    local_cluster: LocalCluster, module_helm: Helm, module_namespace: Kubectl, release_values: Document, tmp_path: Path
) -> None:
    storage_class = local_cluster.make_small_volume("small-results", 2 * 2**20)
    values = {
        **release_values,
        "results": {"persistence": {"storageClassName": storage_class, "size": "1Mi", "keep": False}},
        "jobs": {"maxRetries": 0},
    }
    with small_release(module_helm, values), reached("small-freeze-bench", module_namespace) as release:
        plan = tmp_path / "full.toml"
        plan.write_text(write_plan("full", "Live qwen3"), encoding="utf-8")
        release.run("freeze-bench", "submit", str(plan))
        release.wait_for_step("full", ARM, 100)
        runner = "deployment/small-freeze-bench-runner"
        release.kubectl.run("exec", runner, "--container=runner", "--", "python", "-c", FILL)

        wait_until(lambda: is_failed(release, "full"), "the arm to fail", seconds=180)
        assert release.find_result(f"full/runs/{ARM}/seed-0/result.json") is None
        release.kubectl.run("exec", runner, "--container=runner", "--", "rm", "/results/filler")
        done = release.run("freeze-bench", "submit", str(plan), "--watch")

        assert done.returncode == 0, done.stdout + done.stderr
        assert attempts(release, "full")[-1].resumed_at_step


@contextmanager
def small_release(helm: Helm, values: Document) -> Iterator[None]:
    """A second release in the namespace, for as long as the block lasts."""
    try:
        helm.install("small", values)
        yield
    finally:
        helm.uninstall("small")


FILL = """
try:
    with open("/results/filler", "wb", buffering=0) as filler:
        while filler.write(b"0" * 4096):
            pass
except OSError:
    pass
"""


def is_failed(release: Release, comparison: str) -> bool:
    job = next(iter(release.jobs(f"freeze-bench/comparison={comparison},freeze-bench/mode")), None)
    return job is not None and is_true(job, "Failed")

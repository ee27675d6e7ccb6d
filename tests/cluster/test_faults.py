"""Faults while arms train as Jobs: what is retried for free, what is counted, what stops, and what is told of it."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.busybox_pods import build_pod
from cluster.components import NODE_NAME
from cluster.enclosure import wait_until
from cluster.helm import Helm
from cluster.kubectl import Document, Kubectl, condition, is_true
from cluster.local_cluster import GPU, NUM_GPUS, LocalCluster
from cluster.release import Release, reached
from flows.job_status import Stage, view_worker
from worker.contract.errors import ExitCode
from worker.contract.results import Attempt

pytestmark = [pytest.mark.system, pytest.mark.full, pytest.mark.timeout(900)]

NAME = "freeze-bench"
ARM = "live-qwen3"
LONG = 800
"""Steps of an arm that is still training when a fault has come and gone."""

Submit = Callable[..., str]

PLAN = """
name = "{name}"
seeds = {seeds}

[data]
source = "builtin:language-names"
train_examples = 512
validation_examples = 64
test_examples = 64

[training]
steps = {steps}
batch_size = 16
eval_every = 50
max_tokens = 64
backbone_lr = 1e-3
"""

ONE_ARM = """
[[arms]]
label = "{label}"
backbone = "tiny:qwen3"
mode = "live"
"""


def write_plan(name: str, *labels: str, steps: int = LONG, seeds: Sequence[int] = (0,)) -> str:
    """Return a plan with a live arm for each label."""
    arms = "".join(ONE_ARM.format(label=label) for label in labels)
    return PLAN.format(name=name, steps=steps, seeds=list(seeds)) + arms


@pytest.fixture(scope="module")
def release(module_helm: Helm, release_values: Document, module_namespace: Kubectl) -> Iterator[Release]:
    """One release for all faults; what a test changes about it, it changes back."""
    module_helm.install(NAME, release_values)
    with reached(NAME, module_namespace) as release:
        yield release


@pytest.fixture
def changed_release(
    release: Release,  # noqa: ARG001 - it is there first
    module_helm: Helm,
    release_values: Document,
) -> Iterator[Callable[..., None]]:
    """Install the release with other values, until the test has ended."""

    def change(**tables: Document) -> None:
        values = {**release_values, **{name: {**release_values.get(name, {}), **new} for name, new in tables.items()}}
        module_helm.install(NAME, values)

    yield change
    module_helm.install(NAME, release_values)


@pytest.fixture
def submit(release: Release, tmp_path: Path) -> Iterator[Submit]:
    """Start a comparison of live arms, and return the id of its flow run; what is still running goes after the test."""
    started: list[str] = []

    def start(
        name: str, *, steps: int = LONG, labels: Sequence[str] = ("Live qwen3",), seeds: Sequence[int] = (0,)
    ) -> str:
        plan = tmp_path / f"{name}.toml"
        plan.write_text(write_plan(name, *labels, steps=steps, seeds=seeds), encoding="utf-8")
        done = release.run("freeze-bench", "submit", str(plan))
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", done.stdout)
        assert found, done.stdout
        started.append(found.group())
        return found.group()

    yield start
    for flow_run in started:
        if release.read_state(flow_run)["type"] not in {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}:
            release.cancel(flow_run)
            release.wait_for_end(flow_run, seconds=90)


def attempts(release: Release, comparison: str, arm: str = ARM) -> list[Attempt]:
    content = release.read_result(f"{comparison}/runs/{arm}/seed-0/attempts.jsonl")
    return [Attempt.model_validate_json(line) for line in content.splitlines()]


def num_failed(release: Release, comparison: str, arm: str = ARM) -> int:
    """Return how many pods of an arm's Job counted as failed."""
    return int(release.job_of(comparison, arm)["status"].get("failed", 0))


def worker_pod(release: Release, comparison: str) -> Document:
    (pod,) = release.pods(f"freeze-bench/comparison={comparison},freeze-bench/arm={ARM}")
    return pod


def wait_for_detail(release: Release, comparison: str, words: str, states: Sequence[str] = ("queued",)) -> None:
    """Wait until the arm waits, and it is told what for."""

    def is_told() -> bool:
        status = release.status(comparison, ARM)
        return status.get("state") in states and words in status["detail"]

    wait_until(is_told, f"{comparison} to wait: {words}", seconds=120)


def assert_completed(release: Release, flow_run: str) -> None:
    state = release.wait_for_end(flow_run)
    assert state["type"] == "COMPLETED", state


def test_a_pod_that_is_deleted_is_a_counted_retry_which_resumes(release: Release, submit: Submit) -> None:
    flow_run = submit("pod-deleted")
    release.wait_for_step("pod-deleted", ARM, 100)

    release.kubectl.delete("pod", worker_pod(release, "pod-deleted")["metadata"]["name"])

    assert_completed(release, flow_run)
    first, second = attempts(release, "pod-deleted")
    assert first.exit_code == ExitCode.TERMINATED
    assert second.resumed_at_step
    assert second.resumed_at_step >= 100
    assert num_failed(release, "pod-deleted") == 1


@pytest.mark.usefixtures("local_cluster")
def test_a_drained_node_is_a_free_retry_which_resumes(release: Release, submit: Submit) -> None:
    flow_run = submit("drained")
    release.wait_for_step("drained", ARM, 100)

    selector = "--pod-selector=freeze-bench/comparison=drained"
    try:
        release.kubectl.run("drain", NODE_NAME, selector, "--delete-emptydir-data", "--force", "--timeout=90s")
        wait_for_detail(release, "drained", "a node that takes pods")
    finally:
        release.kubectl.run("uncordon", NODE_NAME)

    assert_completed(release, flow_run)
    assert attempts(release, "drained")[-1].resumed_at_step
    assert num_failed(release, "drained") == 0


def test_a_job_that_is_suspended_from_outside_waits_and_goes_on(release: Release, submit: Submit) -> None:
    flow_run = submit("suspended")
    release.wait_for_step("suspended", ARM, 100)
    job = release.job_of("suspended", ARM)

    suspend(release, job, is_suspended=True)
    wait_for_detail(release, "suspended", "suspended")
    wait_until(lambda: not release.pods("freeze-bench/comparison=suspended,freeze-bench/mode"), "no pod to be left")
    suspend(release, job, is_suspended=False)

    assert_completed(release, flow_run)
    assert attempts(release, "suspended")[-1].resumed_at_step
    assert num_failed(release, "suspended") == 0


def suspend(release: Release, job: Document, *, is_suspended: bool) -> None:
    patch = json.dumps({"spec": {"suspend": is_suspended}})
    release.kubectl.run("patch", "job", job["metadata"]["name"], "--patch", patch)


@pytest.mark.usefixtures("local_cluster")
def test_a_preempted_arm_is_a_free_retry_which_resumes(release: Release, submit: Submit) -> None:
    urgent = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 9}
    flow_run = submit("preempted")
    release.wait_for_step("preempted", ARM, 100)

    resources = {"resources": {"limits": {GPU: str(NUM_GPUS)}}}
    pod = build_pod("urgent", "sleep 600", container=resources, priorityClassName="urgent")
    try:
        release.kubectl.apply(urgent, pod)
        release.kubectl.wait_for("pod", "urgent", is_running, seconds=120)
        wait_for_detail(release, "preempted", GPU)
    finally:
        release.kubectl.delete("pod", "urgent")
        release.kubectl.delete("priorityclass", "urgent")

    assert_completed(release, flow_run)
    assert attempts(release, "preempted")[-1].resumed_at_step
    assert num_failed(release, "preempted") == 0


def is_running(pod: Document) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")


@pytest.mark.usefixtures("local_cluster")
def test_an_arm_waits_for_a_gpu_and_says_so(release: Release, submit: Submit) -> None:
    labels = ("One", "Two", "Three")
    flow_run = submit("no-gpu-left", steps=800, labels=labels)

    def waiting() -> list[str]:
        arms = [label.lower() for label in labels]
        return [arm for arm in arms if GPU in release.status("no-gpu-left", arm).get("detail", "")]

    wait_until(lambda: len(waiting()) == 1, "one arm to wait for a GPU", seconds=120)
    assert release.status("no-gpu-left", waiting()[0])["state"] == "queued"
    assert_completed(release, flow_run)


@pytest.mark.parametrize("component", ["kube-apiserver", "etcd", "containerd", "kubelet"])
def test_a_component_that_is_restarted_costs_no_attempt(
    component: str, local_cluster: LocalCluster, release: Release, submit: Submit
) -> None:
    comparison = f"without-{component}"
    flow_run = submit(comparison)
    release.wait_for_step(comparison, ARM, 100)

    with local_cluster.without_component(component):
        assert not local_cluster.is_alive(component)

    assert_completed(release, flow_run)
    assert len(attempts(release, comparison)) == 1
    assert num_failed(release, comparison) == 0


def test_a_new_runner_adopts_the_jobs_of_the_one_before_it(release: Release, submit: Submit) -> None:
    flow_run = submit("runner-deleted", steps=600, seeds=[0, 1])
    release.wait_for_step("runner-deleted", ARM, 100, seed=1)  # seed 0 is done, and the Job was made for both
    job = release.job_of("runner-deleted", ARM)

    release.kubectl.run("delete", "pod", "--selector=app.kubernetes.io/component=runner", "--wait=true")

    assert_completed(release, flow_run)
    after = release.job_of("runner-deleted", ARM)
    assert after["metadata"]["uid"] == job["metadata"]["uid"]
    assert len(attempts(release, "runner-deleted")) == 1
    assert release.ask_prefect(f"flow_runs/{flow_run}")["run_count"] == 2


def test_an_upgrade_leaves_jobs_running(release: Release, submit: Submit, changed_release: Callable[..., None]) -> None:
    flow_run = submit("upgraded")
    release.wait_for_step("upgraded", ARM, 100)

    changed_release(worker={"sharedMemory": "512Mi"})

    assert_completed(release, flow_run)
    assert len(attempts(release, "upgraded")) == 1


def test_a_prefect_server_that_is_killed_costs_no_attempt(release: Release, submit: Submit) -> None:
    flow_run = submit("prefect-killed")
    release.wait_for_step("prefect-killed", ARM, 100)

    selector = "--selector=app.kubernetes.io/component=prefect"
    release.kubectl.run("delete", "pod", selector, "--grace-period=0", "--force")
    release.kubectl.run("rollout", "status", f"deployment/{NAME}-prefect", "--timeout=120s")

    assert_completed(release, flow_run)
    assert len(attempts(release, "prefect-killed")) == 1


def test_a_cancelled_comparison_leaves_neither_job_nor_pod(release: Release, submit: Submit) -> None:
    flow_run = submit("cancelled", labels=("One", "Two", "Three"))
    release.wait_for_step("cancelled", "one", 50)

    release.cancel(flow_run)

    selector = "freeze-bench/comparison=cancelled"
    wait_until(lambda: not release.jobs(selector) and not release.pods(selector), "Jobs and pods to go", seconds=60)
    assert release.wait_for_end(flow_run, seconds=60)["type"] == "CANCELLED"
    assert {release.status("cancelled", arm)["state"] for arm in ("one", "two", "three")} == {"cancelled"}


def test_an_image_that_cannot_be_had_is_said_and_can_be_cancelled(
    release: Release, submit: Submit, changed_release: Callable[..., None], release_values: Document
) -> None:
    images = {**release_values["images"], "worker": {"repository": "127.0.0.1:1/none/worker", "tag": "none"}}
    changed_release(images=images)
    flow_run = submit("wrong-image", steps=10)

    wait_for_detail(release, "wrong-image", "image", ["waiting", "queued"])  # its data is prepared with that image, too

    release.cancel(flow_run)
    assert release.wait_for_end(flow_run, seconds=90)["type"] == "CANCELLED"


@pytest.mark.parametrize(
    ("worker", "exit_code", "words"),
    [
        ({"device": "cuda"}, ExitCode.DEVICE, "CUDA"),
        ({"resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "150Mi"}}}, 137, "memory"),
    ],
    ids=["no CUDA", "memory"],
)
def test_an_arm_that_cannot_run_fails_with_its_reason(
    release: Release,
    submit: Submit,
    changed_release: Callable[..., None],
    worker: Document,
    exit_code: int,
    words: str,
) -> None:
    comparison = f"exit-{int(exit_code)}"
    changed_release(worker=worker, jobs={"maxRetries": 0})

    state = release.wait_for_end(submit(comparison, steps=10))

    assert state["type"] == "FAILED"
    failure = release.status(comparison, ARM)["failure"]
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
    changed_release: Callable[..., None],
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

"""Pods of arms that go while they train: what is retried for free, what is counted, what an arm waits for."""

import json

import pytest

from cluster.components import NODE_NAME
from cluster.enclosure import wait_until
from cluster.kubectl import Document
from cluster.local_cluster import GPU
from cluster.long_arms import ARM, Submit, assert_completed, attempts, num_failed, worker_pod
from cluster.preemption import all_gpus_taken
from cluster.release import Release
from worker.contract.errors import ExitCode

pytestmark = [pytest.mark.system, pytest.mark.full, pytest.mark.timeout(900)]


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
        release.wait_for_detail("drained", ARM, "a node that takes pods")
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
    release.wait_for_detail("suspended", ARM, "suspended")
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
    flow_run = submit("preempted")
    release.wait_for_step("preempted", ARM, 100)

    with all_gpus_taken(release.kubectl):
        release.wait_for_detail("preempted", ARM, GPU)

    assert_completed(release, flow_run)
    assert attempts(release, "preempted")[-1].resumed_at_step
    assert num_failed(release, "preempted") == 0


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

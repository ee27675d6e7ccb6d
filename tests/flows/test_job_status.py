"""Where a worker is: what a Job's conditions mean, alone and together with its pods."""

import pytest

from flows.diagnosis import Category, Effect
from flows.job_status import JobState, Stage, read_state, view_worker
from kubernetes_objects import (
    KubernetesObject,
    deleted,
    disrupted,
    make_condition,
    make_event,
    make_job,
    make_pod,
    on_node,
    running,
    terminated,
    unschedulable,
    waiting,
)

COMPLETE = make_condition("Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods")
CRITERIA_MET = make_condition("SuccessCriteriaMet", "True", "CompletionsReached")
FAILED = make_condition("Failed", "True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
FAILURE_TARGET = make_condition("FailureTarget", "True", "BackoffLimitExceeded")
SUSPENDED = make_condition("Suspended", "True", "JobSuspended", "Job suspended")
RESUMED = make_condition("Suspended", "False", "JobResumed", "Job resumed")

READY = make_condition("PodReadyToStartContainers")
RUNNING_POD = on_node(READY, make_condition("Ready"), phase="Running", state=running())
NO_GPU = unschedulable("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
OUT_OF_MEMORY = on_node(phase="Failed", state=terminated(137, "OOMKilled"))


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (make_job(), JobState.ACTIVE),
        (make_job(active=1), JobState.ACTIVE),
        (make_job(failed=1), JobState.ACTIVE),
        (make_job(suspend=True), JobState.QUEUED),
        (make_job(SUSPENDED, suspend=True), JobState.QUEUED),
        (make_job(RESUMED, suspend=True), JobState.QUEUED),
        (make_job(SUSPENDED), JobState.ACTIVE),
        (make_job(RESUMED), JobState.ACTIVE),
        (make_job(CRITERIA_MET), JobState.ENDING),
        (make_job(FAILURE_TARGET), JobState.ENDING),
        (make_job(RESUMED, FAILURE_TARGET), JobState.ENDING),
        (make_job(CRITERIA_MET, COMPLETE), JobState.COMPLETE),
        (make_job(RESUMED, CRITERIA_MET, COMPLETE), JobState.COMPLETE),
        (make_job(COMPLETE), JobState.COMPLETE),
        (make_job(FAILURE_TARGET, FAILED), JobState.FAILED),
        (make_job(SUSPENDED, FAILED, suspend=True), JobState.FAILED),
        (make_job(make_condition("Complete", "False"), make_condition("Failed", "False")), JobState.ACTIVE),
        (make_job(make_condition("Complete", "Unknown")), JobState.ACTIVE),
        (make_job(make_condition("SomethingNew")), JobState.ACTIVE),
        (deleted(make_job()), JobState.DELETED),
        (deleted(make_job(SUSPENDED, suspend=True)), JobState.DELETED),
        (deleted(make_job(COMPLETE)), JobState.COMPLETE),
        (deleted(make_job(FAILED)), JobState.FAILED),
    ],
)
def test_a_job_is_over_by_complete_and_failed_alone(job: KubernetesObject, expected: JobState) -> None:
    assert read_state(job) is expected


def test_a_job_that_was_just_made_has_no_status() -> None:
    job = make_job() | {"status": {}}
    assert read_state(job) is JobState.ACTIVE
    view = view_worker(job, [])
    assert (view.stage, view.detail, view.num_attempts) == (Stage.STARTING, "waiting for its pod", 0)


@pytest.mark.parametrize(
    ("job", "pods", "stage", "detail"),
    [
        (make_job(SUSPENDED, suspend=True), [], Stage.QUEUED, "its Job is suspended"),
        (make_job(SUSPENDED, suspend=True), [RUNNING_POD], Stage.STOPPING, "its Job was suspended"),
        (make_job(SUSPENDED, suspend=True), [OUT_OF_MEMORY], Stage.QUEUED, "its Job is suspended"),
        (make_job(active=1), [make_pod()], Stage.STARTING, "waiting for a node"),
        (make_job(active=1), [NO_GPU], Stage.UNSCHEDULABLE, "waiting for nvidia.com/gpu: 0/1 nodes are available"),
        (
            make_job(active=1),
            [on_node(state=waiting("ContainerCreating"))],
            Stage.STARTING,
            "preparing volumes and network",
        ),
        (make_job(active=1), [on_node()], Stage.STARTING, "preparing volumes and network"),
        (make_job(active=1), [on_node(READY, state=waiting("ContainerCreating"))], Stage.PULLING, "pulling the image"),
        (
            make_job(active=1),
            [on_node(READY, state=waiting("ImagePullBackOff"))],
            Stage.PULLING,
            "no image (ImagePullBackOff)",
        ),
        (
            make_job(active=1),
            [on_node(READY, state=waiting("CreateContainerConfigError", 'secret "hub" not found'))],
            Stage.STARTING,
            "a Secret or ConfigMap is missing",
        ),
        (make_job(active=1), [RUNNING_POD], Stage.RUNNING, ""),
        (make_job(active=1), [on_node(phase="Running", state=terminated(0))], Stage.STOPPING, "its pod is ending"),
        (make_job(), [on_node(phase="Succeeded", state=terminated(0))], Stage.STOPPING, "its pod has ended"),
        (make_job(CRITERIA_MET), [on_node(phase="Succeeded", state=terminated(0))], Stage.STOPPING, ""),
        (make_job(active=1), [deleted(RUNNING_POD)], Stage.STOPPING, "its pod was deleted"),
        (
            make_job(active=1),
            [disrupted("PreemptionByScheduler", "preempting", phase="Running", state=running())],
            Stage.STOPPING,
            "preempted",
        ),
        (make_job(failed=1), [OUT_OF_MEMORY], Stage.RETRYING, "to be started again: out of memory"),
        (make_job(FAILURE_TARGET, failed=4), [OUT_OF_MEMORY], Stage.STOPPING, "out of memory"),
        (deleted(make_job(active=1)), [deleted(RUNNING_POD)], Stage.DELETED, "its pod was deleted"),
    ],
)
def test_job_and_newest_pod_tell_the_stage(
    job: KubernetesObject, pods: list[KubernetesObject], stage: Stage, detail: str
) -> None:
    view = view_worker(job, pods)
    assert (view.stage, view.detail) == (stage, detail)
    assert view.exit_code is None
    assert not view.is_final


def test_a_queue_is_called_by_its_name() -> None:
    job = make_job(SUSPENDED, suspend=True)
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "gpu-queue"}
    assert view_worker(job, []).detail == "in the queue gpu-queue"


def test_a_pod_that_may_not_be_made_is_told_from_events() -> None:
    events = [make_event("FailedCreate", 'Error creating: pods "x" is forbidden: exceeded quota: gpus')]
    view = view_worker(make_job(), [], events)
    assert (view.stage, view.detail) == (Stage.UNSCHEDULABLE, "waiting for the namespace's quota")
    assert view.diagnosis is not None
    assert view.diagnosis.effect is Effect.WAITS


def test_a_silent_node_shows_while_the_worker_counts_as_running() -> None:
    pod = on_node(make_condition("ContainersReady"), make_condition("Ready", "False"), phase="Running", state=running())
    view = view_worker(make_job(active=1), [pod])
    assert (view.stage, view.detail) == (Stage.RUNNING, "its node does not answer")


def test_a_worker_that_is_done_has_no_diagnosis_whatever_its_pods_went_through() -> None:
    evicted = disrupted("EvictionByEvictionAPI", "Eviction API: evicting", phase="Failed", state=terminated(143))
    done = on_node(phase="Succeeded", state=terminated(0, "OOMKilled"), created="2026-11-24T13:00:00Z")
    view = view_worker(make_job(CRITERIA_MET, COMPLETE, succeeded=1, failed=1), [done, OUT_OF_MEMORY, evicted])
    assert (view.stage, view.exit_code, view.diagnosis) == (Stage.DONE, 0, None)
    assert view.is_final
    assert view.num_attempts == 3


def test_a_worker_that_failed_has_the_exit_code_and_the_diagnosis_of_its_last_pod() -> None:
    first = on_node(phase="Failed", state=terminated(1))
    last = on_node(phase="Failed", state=terminated(137, "OOMKilled"), created="2026-11-24T13:00:00Z")
    view = view_worker(make_job(FAILURE_TARGET, FAILED, failed=4), [last, first])
    assert (view.stage, view.exit_code) == (Stage.FAILED, 137)
    assert view.diagnosis is not None
    assert (view.diagnosis.category, view.diagnosis.effect) == (Category.MEMORY, Effect.STOPS)
    assert view.is_final
    assert view.num_attempts == 4


def test_a_failed_job_without_pods_still_has_a_diagnosis() -> None:
    view = view_worker(make_job(FAILED, failed=1), [])
    assert view.stage is Stage.FAILED
    assert view.diagnosis is not None
    assert view.exit_code is None


def test_of_two_pods_from_one_second_the_one_that_has_not_ended_is_the_newer() -> None:
    for pods in ([OUT_OF_MEMORY, RUNNING_POD], [RUNNING_POD, OUT_OF_MEMORY]):
        assert view_worker(make_job(active=1, failed=1), pods).stage is Stage.RUNNING


@pytest.mark.parametrize(
    ("job", "pods", "is_running", "is_waiting"),
    [
        (make_job(SUSPENDED, suspend=True), [], False, True),
        (make_job(active=1), [NO_GPU], False, True),
        (make_job(active=1), [on_node(READY)], False, False),
        (make_job(active=1), [RUNNING_POD], True, False),
        (make_job(active=1), [deleted(RUNNING_POD)], True, False),
        (make_job(failed=1), [OUT_OF_MEMORY], False, False),
        (make_job(COMPLETE), [], False, False),
    ],
)
def test_a_worker_waits_for_a_place_or_has_one(
    job: KubernetesObject, pods: list[KubernetesObject], *, is_running: bool, is_waiting: bool
) -> None:
    view = view_worker(job, pods)
    assert (view.is_running, view.is_waiting_for_place) == (is_running, is_waiting)


def test_stages_are_a_promise() -> None:
    assert [each.value for each in Stage] == [
        "queued", "unschedulable", "starting", "pulling", "running", "stopping", "retrying", "deleted", "done",
        "failed",
    ]  # fmt: skip

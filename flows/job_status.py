"""Where a worker is, told from its Job and the Job's pods as they were listed. Pure.

A Job is over when its condition ``Complete`` or ``Failed`` is true, and by no other sign: a Job that waits in a queue
has the condition ``Suspended``, one that has been resumed keeps it as false, and one whose end is decided has
``SuccessCriteriaMet`` or ``FailureTarget`` while its pods still end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flows.cluster_settings import KubernetesObject
from flows.diagnosis import Category, Diagnosis
from flows.manifests import QUEUE_LABEL
from flows.pod_diagnosis import diagnose
from flows.pod_status import (
    is_being_deleted,
    is_over,
    is_true,
    newest_pod,
    read_condition,
    read_phase,
    read_worker_state,
)
from worker.contract.errors import ExitCode


class JobState(StrEnum):
    """Where a Job is. The last two are final."""

    DELETED = "deleted"
    """Somebody deletes it; it is gone as soon as its pods are."""
    QUEUED = "queued"
    """It is suspended: a queue, or a person, holds it back."""
    ACTIVE = "active"
    """It has a pod, or is about to make one."""
    ENDING = "ending"
    """Its end is decided; a pod has not ended yet."""
    COMPLETE = "complete"
    FAILED = "failed"


class Stage(StrEnum):
    """Where a worker is. The last two are final."""

    QUEUED = "queued"
    """Its Job is suspended."""
    UNSCHEDULABLE = "unschedulable"
    """No node takes its pod, or its Job may not make one."""
    STARTING = "starting"
    """Its pod is being made ready."""
    PULLING = "pulling"
    """A node fetches its image."""
    RUNNING = "running"
    STOPPING = "stopping"
    """Its pod has been told to end."""
    RETRYING = "retrying"
    """Its pod ended badly, and another will follow."""
    DELETED = "deleted"
    """Its Job is being deleted, and gone when its pods are."""
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class WorkerView:
    """Where a worker is, and what ails it."""

    stage: Stage
    detail: str
    """A few words for people; empty where the stage says everything."""
    exit_code: int | None
    """Of a worker that is done or failed; None before that, and where it is not known."""
    diagnosis: Diagnosis | None
    num_attempts: int
    """Pods so far, at least: those that were deleted after a disruption are not counted."""

    @property
    def is_final(self) -> bool:
        """Whether this is its end. A Job that is being deleted has none yet, and may still complete."""
        return self.stage in {Stage.DONE, Stage.FAILED}

    @property
    def is_running(self) -> bool:
        """Whether it has a place and works, or ends its work."""
        return self.stage in {Stage.RUNNING, Stage.STOPPING}

    @property
    def is_waiting_for_place(self) -> bool:
        """Whether it holds nothing yet that others could use."""
        return self.stage in {Stage.QUEUED, Stage.UNSCHEDULABLE}


_STAGES_OF_JOBS: Final = {
    JobState.COMPLETE: Stage.DONE,
    JobState.FAILED: Stage.FAILED,
    JobState.DELETED: Stage.DELETED,
    JobState.ENDING: Stage.STOPPING,
}
"""What the Job alone says."""


def read_state(job: KubernetesObject) -> JobState:
    """Return where a Job is.

    Whether it is suspended is asked of its spec: the condition follows later, and stays behind when it is resumed.
    """
    if is_true(job, "Complete"):
        return JobState.COMPLETE
    if is_true(job, "Failed"):
        return JobState.FAILED
    if is_being_deleted(job):
        return JobState.DELETED
    if is_true(job, "SuccessCriteriaMet") or is_true(job, "FailureTarget"):
        return JobState.ENDING
    return JobState.QUEUED if job["spec"].get("suspend") else JobState.ACTIVE


def view_worker(
    job: KubernetesObject, pods: Sequence[KubernetesObject], events: Sequence[KubernetesObject] = ()
) -> WorkerView:
    """Return where a worker is.

    Args:
        job: Its Job.
        pods: All pods of the Job that are left, in any order.
        events: Of its newest pod, or of the Job if it has none; they are needed only where ``diagnose`` says so.
    """
    pod, state = newest_pod(pods), read_state(job)
    diagnosis = None if state is JobState.QUEUED else diagnose(pod, job, events)
    if state in _STAGES_OF_JOBS:
        stage, words = _STAGES_OF_JOBS[state], ""
    elif state is JobState.QUEUED:
        stage, words = _view_suspended(job, pod)
    else:
        stage, words = _view_pod(pod, diagnosis)
    exit_code = diagnosis.exit_code if diagnosis and stage is Stage.FAILED else None
    if diagnosis:
        words = f"to be started again: {diagnosis.summary}" if stage is Stage.RETRYING else diagnosis.summary
    return WorkerView(
        stage=stage,
        detail=words,
        exit_code=int(ExitCode.DONE) if stage is Stage.DONE else exit_code,
        diagnosis=diagnosis,
        num_attempts=_count_attempts(job, pods),
    )


def _view_suspended(job: KubernetesObject, pod: KubernetesObject | None) -> tuple[Stage, str]:
    if pod and not is_over(pod):
        return Stage.STOPPING, "its Job was suspended"
    queue = job["metadata"].get("labels", {}).get(QUEUE_LABEL)
    return Stage.QUEUED, f"in the queue {queue}" if queue else "its Job is suspended"


def _view_pod(pod: KubernetesObject | None, diagnosis: Diagnosis | None) -> tuple[Stage, str]:
    """Return the stage of an active Job's worker, and words for where there is no diagnosis."""
    if pod is None:
        return (Stage.UNSCHEDULABLE if diagnosis else Stage.STARTING), "waiting for its pod"
    if is_over(pod):
        return (Stage.STOPPING if read_phase(pod) == "Succeeded" else Stage.RETRYING), "its pod has ended"
    is_told_to_end = is_being_deleted(pod) or is_true(pod, "DisruptionTarget")
    if is_told_to_end or read_worker_state(pod, "terminated") is not None:
        return Stage.STOPPING, "its pod is ending"
    if read_worker_state(pod, "running") is not None:
        return Stage.RUNNING, ""
    return _view_start(pod, diagnosis)


def _view_start(pod: KubernetesObject, diagnosis: Diagnosis | None) -> tuple[Stage, str]:
    """Return the stage of a worker whose container does not run yet."""
    if not is_true(pod, "PodScheduled"):
        is_refused = read_condition(pod, "PodScheduled").get("status") == "False"
        return (Stage.UNSCHEDULABLE if is_refused else Stage.STARTING), "waiting for a node"
    if is_true(pod, "PodReadyToStartContainers") and (diagnosis is None or diagnosis.category is Category.IMAGE):
        # Network and volumes are there. What is left is the image, which a node that has it needs no time for.
        return Stage.PULLING, "pulling the image"
    return Stage.STARTING, "preparing volumes and network"


def _count_attempts(job: KubernetesObject, pods: Sequence[KubernetesObject]) -> int:
    status = job.get("status", {})
    num_counted = sum(status.get(key, 0) for key in ("active", "failed", "succeeded"))
    return max(len(pods), int(num_counted))

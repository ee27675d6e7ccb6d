"""Why a pod ended badly, or is ending: what disrupted it, what its node did to it, and what its worker said.

Pure. What counts is what the Job's podFailurePolicy looks at, in its order: the condition ``DisruptionTarget``, then
the exit code of the worker. A reason beside an exit code explains it and never overrules it: a pod whose worker ended
with 0 did its work, even if a process of it was killed on the way and the reason says ``OOMKilled``.
"""

from typing import Final

from flows.cluster_settings import KubernetesObject
from flows.diagnosis import Category, Diagnosis, Effect
from flows.pod_status import (
    build_command,
    end_sentence,
    is_being_deleted,
    is_true,
    read_condition,
    read_phase,
    read_worker_state,
)
from flows.worker_end import diagnose_exit, is_permanent
from worker.contract.errors import ExitCode

_DISRUPTIONS: Final = {
    "PreemptionByScheduler": (Category.PREEMPTED, "preempted", "A pod of higher priority took its place"),
    "EvictionByEvictionAPI": (Category.DISRUPTED, "evicted", "It was evicted, as when a node is emptied"),
    "DeletionByTaintManager": (Category.NODE_LOST, "taken from its node", "Its node does not answer, or was tainted"),
    "DeletionByPodGC": (Category.NODE_LOST, "its node is gone", "Its node is no longer in the cluster"),
    "TerminationByKubelet": (Category.DISRUPTED, "ended by its node", "Its node ended it"),
}
"""By the reason of the condition DisruptionTarget. Source: k8s.io/api/core/v1, PodReason..., 1.34."""

_LOST_REMEDY: Final = (
    "It goes on when the node answers. If it stays away, remove it (`kubectl delete node`): then another pod goes on."
)


def diagnose_end(pod: KubernetesObject) -> Diagnosis | None:
    """Say why a pod ended badly or is ending; None if it ended well, or if nothing ails it."""
    ended = read_worker_state(pod, "terminated")
    exit_code = ended["exitCode"] if ended else None
    if exit_code == ExitCode.DONE or read_phase(pod) == "Succeeded":
        return None
    if is_true(pod, "DisruptionTarget"):
        return _diagnose_disruption(pod, exit_code)
    if ended and is_permanent(ended["exitCode"]):
        return diagnose_exit(pod, ended)
    by_node = _diagnose_node(pod, exit_code)
    if by_node or ended is None:
        return by_node or _diagnose_rest(pod)
    return diagnose_exit(pod, ended)


def _diagnose_disruption(pod: KubernetesObject, exit_code: int | None) -> Diagnosis:
    condition = read_condition(pod, "DisruptionTarget")
    reason, message = condition.get("reason", ""), condition.get("message", "")
    category, summary, problem = _DISRUPTIONS.get(
        reason, (Category.DISRUPTED, "disrupted", f"It was disrupted ({reason})")
    )
    if pod["status"].get("reason") == "Evicted":
        category, summary, problem = Category.EVICTED, "evicted, its node is short", "Its node was short and evicted it"
    remedy = "It goes on by itself, in another pod."
    if category is Category.NODE_LOST and exit_code is None:
        remedy = _LOST_REMEDY
    return Diagnosis(
        category=category,
        effect=Effect.FREE_RETRY,
        summary=summary,
        problem=end_sentence(f"{problem}: {message}" if message else problem),
        remedy=remedy,
        exit_code=exit_code,
    )


def _diagnose_node(pod: KubernetesObject, exit_code: int | None) -> Diagnosis | None:
    """Say what its node did to a pod, where the pod's own reason names it. None of it is free."""
    reason, message = pod["status"].get("reason", ""), pod["status"].get("message", "")
    if reason == "DeadlineExceeded":
        category, summary = Category.DEADLINE, "took too long"
        problem = "The attempt took longer than its pod may run."
        remedy = (
            "If it needs longer, raise jobs.runDeadlineSeconds or jobs.prepareDeadlineSeconds in the chart's values."
        )
    elif reason == "Evicted":
        category, summary = Category.EVICTED, "evicted, it used more than it may"
        problem = f"Its node evicted it: {message}"
        remedy = "Raise the limit that is named, in the chart's values."
    elif reason == "UnexpectedAdmissionError" or reason.startswith("OutOf"):
        is_gpu = "/" in f"{reason} {message}"
        category, summary = (Category.GPU if is_gpu else Category.ROOM), f"refused by its node ({reason})"
        problem = f"The node that was to run it refused it: {message or reason}"
        remedy = "If it repeats, look at the node: `kubectl describe nodes`."
    else:
        return None
    return Diagnosis(
        category=category,
        effect=Effect.COUNTED_RETRY,
        summary=summary,
        problem=end_sentence(problem),
        remedy=remedy,
        exit_code=exit_code,
    )


def _diagnose_rest(pod: KubernetesObject) -> Diagnosis | None:
    """Say what can be said of a pod whose worker is not known to have ended."""
    status = pod["status"]
    if status.get("reason") == "NodeLost" or read_phase(pod) == "Unknown" or _is_node_silent(pod):
        return Diagnosis(
            category=Category.NODE_LOST,
            effect=Effect.FREE_RETRY,
            summary="its node does not answer",
            problem=f"Its node {pod['spec'].get('nodeName', '')} does not answer: whether it still runs is not known.",
            remedy=_LOST_REMEDY,
        )
    if is_being_deleted(pod):
        return Diagnosis(
            category=Category.STOPPED,
            effect=Effect.COUNTED_RETRY,
            summary="its pod was deleted",
            problem="Its pod was deleted.",
            remedy="If nobody meant that, `kubectl get events` may say who it was.",
        )
    if read_phase(pod) == "Failed":
        words = ": ".join(filter(None, (status.get("reason"), status.get("message")))) or "no reason is given"
        return Diagnosis(
            category=Category.POD,
            effect=Effect.COUNTED_RETRY,
            summary="its pod failed",
            problem=end_sentence(f"Its pod failed before the worker ran: {words}"),
            remedy=f"See {build_command('describe pod', pod)}.",
        )
    return None


def _is_node_silent(pod: KubernetesObject) -> bool:
    """Return whether the control plane has taken a pod's readiness back because its node does not answer.

    It changes the condition ``Ready`` alone; the kubelet, which is silent, would change ``ContainersReady`` with it.
    Source: pkg/controller/nodelifecycle, MarkPodsNotReady, 1.34.
    """
    return is_true(pod, "ContainersReady") and read_condition(pod, "Ready").get("status") == "False"

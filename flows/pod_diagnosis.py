"""The diagnosis of a Job and its newest pod: why it does not run, or why it failed, and what to do. Pure.

``flows.pod_waiting`` knows pods that have not started, ``flows.pod_end`` those that have ended or are ending. Here the
two are joined, and the Job has the last word on whether there will be another pod.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from flows.cluster_settings import KubernetesObject
from flows.diagnosis import Category, Diagnosis, Effect
from flows.pod_end import diagnose_end
from flows.pod_status import build_command, end_sentence, is_true, read_condition
from flows.pod_waiting import diagnose_refused, diagnose_waiting


def diagnose(
    pod: KubernetesObject | None, job: KubernetesObject, events: Sequence[KubernetesObject] = ()
) -> Diagnosis | None:
    """Say what ails a Job.

    Args:
        pod: Its newest pod; None if it has none.
        job: The Job.
        events: Of the pod, or of a Job without a pod. What is told by them alone is not found without them: that a
            volume is attached elsewhere or cannot be mounted, and that the cluster refuses the pod.

    Returns:
        The diagnosis; None if the Job ended well, or if nothing speaks against its going on.
    """
    if is_true(job, "Complete"):
        return None
    found = diagnose_end(pod) or diagnose_waiting(pod, events) if pod else diagnose_refused(job, events)
    failed = read_condition(job, "Failed")
    return _conclude(job, failed, found) if failed.get("status") == "True" else found


def _conclude(job: KubernetesObject, failed: KubernetesObject, found: Diagnosis | None) -> Diagnosis:
    """Say why a Job has failed for good: its last pod's trouble, and why there is no other pod."""
    reason, message = failed.get("reason", ""), failed.get("message", "")
    if found is None or reason not in {"BackoffLimitExceeded", "PodFailurePolicy"}:
        return Diagnosis(
            category=Category.JOB,
            effect=Effect.STOPS,
            summary=f"its Job failed ({reason})",
            problem=end_sentence(f"Its Job failed ({reason}): {message}"),
            remedy=f"See {build_command('describe job', job)}, then submit the plan again.",
            exit_code=_read_exit_code(message),
        )
    if found.effect is Effect.STOPS:
        return found
    num_failed = job["status"].get("failed", 0)
    attempts = "the only attempt" if num_failed <= 1 else f"the last of {num_failed} attempts"
    return replace(
        found,
        effect=Effect.STOPS,
        problem=f"{found.problem} It was {attempts}.",
        remedy=f"{found.remedy} Submitted again, it goes on from where it was.",
    )


def _read_exit_code(message: str) -> int | None:
    """Read the exit code from the words of a podFailurePolicy that stopped a Job; its pod may be gone."""
    match = re.search(r"failed with exit code (\d+)", message)
    return int(match[1]) if match else None

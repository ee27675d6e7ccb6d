"""What the end of a worker's container means: its exit code, its last words, and the runtime's reason. Pure."""

import signal
from typing import Final

from pydantic import ValidationError

from flows.cluster_settings import KubernetesObject
from flows.diagnosis import Category, Diagnosis, Effect
from flows.pod_status import build_command, end_sentence, is_being_deleted
from worker.contract.errors import ExitCode
from worker.contract.results import Failure

_SIGNAL_BASE: Final = 128
"""A process that was ended by signal n has the exit code 128 + n."""

_MAX_WORDS: Final = 400
"""Characters of a log's end that a message holds."""

_SIGNAL_REMEDIES: Final[dict[int, str]] = {
    signal.SIGKILL: "Its node kills what has not ended within worker.terminationGracePeriodSeconds, and when its own "
    "memory is short.",
    signal.SIGBUS: "Often /dev/shm is too small: raise worker.sharedMemory in the chart's values.",
}

_NOT_STARTED: Final = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of a container whose process never ran; the exit code beside it is the runtime's own, 128."""


def is_permanent(exit_code: int) -> bool:
    """Return whether a worker that ended with this code would do so again."""
    return exit_code in set(ExitCode) and ExitCode(exit_code).is_permanent


def diagnose_exit(pod: KubernetesObject, ended: KubernetesObject) -> Diagnosis:
    """Say what the end of a worker means that did not end well.

    Args:
        pod: Its pod.
        ended: The state ``terminated`` of its container.
    """
    exit_code = ended["exitCode"]
    if is_permanent(exit_code):
        return _diagnose_words(pod, ended, Effect.STOPS)
    if by_runtime := _diagnose_reason(exit_code, ended.get("reason", ""), ended.get("message", "")):
        return by_runtime
    if exit_code == ExitCode.TERMINATED:
        by = "Its pod was deleted" if is_being_deleted(pod) else "The worker was told to stop"
        remedy = "If nobody meant that, `kubectl get events` may say who it was."
        return _diagnose_retry(Category.STOPPED, exit_code, "stopped", f"{by}, and it ended in order", remedy)
    if exit_code > _SIGNAL_BASE:
        return _diagnose_signal(exit_code)
    return _diagnose_words(pod, ended, Effect.COUNTED_RETRY)


def _diagnose_reason(exit_code: int, reason: str, message: str) -> Diagnosis | None:
    """Say what the container runtime or the kubelet knows better than the exit code."""
    if reason == "OOMKilled":
        summary, problem = "out of memory", "The worker reached the memory limit of its pod and was killed"
        remedy = "Raise worker.resources.limits.memory in the chart's values."
        return _diagnose_retry(Category.MEMORY, exit_code, summary, problem, remedy)
    if reason in _NOT_STARTED:
        summary = f"the container does not start ({reason})"
        problem = f"The container could not be started ({reason}): {message or 'no message'}"
        remedy = "Check images.worker in the chart's values, and what they add to worker pods."
        return _diagnose_retry(Category.CONTAINER, exit_code, summary, problem, remedy)
    if reason == "ContainerStatusUnknown":
        problem = "Its node lost sight of the container, as when the node is started anew"
        return _diagnose_retry(Category.NODE_LOST, exit_code, "lost by its node", problem, "See `kubectl get nodes`.")
    return None


def _diagnose_retry(category: Category, exit_code: int, summary: str, problem: str, remedy: str) -> Diagnosis:
    return Diagnosis(
        category=category,
        effect=Effect.COUNTED_RETRY,
        summary=summary,
        problem=end_sentence(problem),
        remedy=remedy,
        exit_code=exit_code,
    )


def _diagnose_signal(exit_code: int) -> Diagnosis:
    number = exit_code - _SIGNAL_BASE
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    remedy = _SIGNAL_REMEDIES.get(
        number, "Its log may say more. Native code that crashes may do better on another node."
    )
    return _diagnose_retry(Category.KILLED, exit_code, f"killed by {name}", f"The worker was killed by {name}", remedy)


def _diagnose_words(pod: KubernetesObject, ended: KubernetesObject, effect: Effect) -> Diagnosis:
    """Repeat a worker's last words. Without any, the kubelet has put the end of its log in their place."""
    exit_code, message = ended["exitCode"], ended.get("message", "").strip()
    known = f" ({_name(exit_code)})" if exit_code in set(ExitCode) else ""
    try:
        words = Failure.model_validate_json(message)
    except ValidationError:
        tail = f" The end of its log: {end_sentence(message[-_MAX_WORDS:])}" if message else ""
        words = Failure(
            exit_code=exit_code,
            problem=f"The worker ended with exit code {exit_code}{known} and no explanation.{tail}",
            remedy=f"See its log while the pod is there: {build_command('logs', pod)}.",
        )
    return Diagnosis(
        category=Category.WORKER,
        effect=effect,
        summary=f"gave up with exit code {exit_code}{known}",
        problem=words.problem,
        remedy=words.remedy,
        exit_code=exit_code,
    )


def _name(exit_code: int) -> str:
    return ExitCode(exit_code).name.lower().replace("_", " ")

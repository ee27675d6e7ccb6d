"""Reading the status of a pod or Job: what may be missing, and what is called how."""

from collections.abc import Sequence

from flows.cluster_settings import WORKER_CONTAINER, KubernetesObject


def read_condition(thing: KubernetesObject, kind: str) -> KubernetesObject:
    """Return the condition of a type; empty if there is none."""
    conditions = thing.get("status", {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), {})


def is_true(thing: KubernetesObject, kind: str) -> bool:
    """Return whether the condition of a type is there and true. It may be there and false: left over from before."""
    return read_condition(thing, kind).get("status") == "True"


def read_worker_state(pod: KubernetesObject, kind: str) -> KubernetesObject | None:
    """Return what a pod's status says of its worker container, if the container is in that state.

    Args:
        pod: The pod.
        kind: ``waiting``, ``running`` or ``terminated``.
    """
    statuses = pod.get("status", {}).get("containerStatuses") or []
    worker: KubernetesObject = next((status for status in statuses if status["name"] == WORKER_CONTAINER), {})
    state: KubernetesObject | None = worker.get("state", {}).get(kind)
    return state


def read_phase(pod: KubernetesObject) -> str:
    """Return ``Pending``, ``Running``, ``Succeeded``, ``Failed`` or ``Unknown``."""
    return str(pod.get("status", {}).get("phase", "Pending"))


def is_over(pod: KubernetesObject) -> bool:
    """Return whether a pod has ended, well or badly."""
    return read_phase(pod) in {"Succeeded", "Failed"}


def is_being_deleted(thing: KubernetesObject) -> bool:
    """Return whether somebody has asked for a pod or Job to be deleted; it may still run for its grace period."""
    return "deletionTimestamp" in thing["metadata"]


def newest_pod(pods: Sequence[KubernetesObject]) -> KubernetesObject | None:
    """Return the pod of a Job that speaks for it; None if it has none.

    A Job has one pod at a time, and keeps those that have ended. Times are in whole seconds: of two from the same
    second, the one that has not ended is the newer.
    """

    def age(pod: KubernetesObject) -> tuple[str, bool]:
        return pod["metadata"]["creationTimestamp"], not is_over(pod)

    return max(pods, key=age, default=None)


def build_command(action: str, thing: KubernetesObject) -> str:
    """Return the kubectl command for a person who looks into an object; the action is such as ``describe pod``."""
    metadata = thing["metadata"]
    return f"kubectl {action} {metadata['name']} -n {metadata['namespace']}"


def end_sentence(text: str) -> str:
    """Return words of Kubernetes as a sentence that ends once."""
    return text.strip().rstrip(".") + "."

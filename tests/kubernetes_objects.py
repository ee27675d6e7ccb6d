"""Jobs, pods and events as the API server returns them, cut to what a status says."""

from typing import Any

KubernetesObject = dict[str, Any]

NAME = "fb-tickets-live-qwen3-0a1b2c3d"


def make_condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> KubernetesObject:
    return {"type": kind, "status": status} | {
        key: value for key, value in (("reason", reason), ("message", message)) if value
    }


def make_job(*conditions: KubernetesObject, suspend: bool = False, **status: int) -> KubernetesObject:
    """A Job with these conditions, and counts of pods such as ``failed=2``."""
    return {
        "metadata": {"name": NAME, "namespace": "science", "labels": {}},
        "spec": {"suspend": suspend, "backoffLimit": 3},
        "status": {"conditions": list(conditions), **status},
    }


def make_pod(
    *conditions: KubernetesObject,
    phase: str = "Pending",
    state: KubernetesObject | None = None,
    created: str = "2026-11-24T12:00:00Z",
    **status: str,
) -> KubernetesObject:
    """A pod whose worker container is in this state; ``reason`` and ``message`` are the pod's own."""
    container = {"name": "worker", "image": "registry.example/freeze-bench-worker:0.1.0"}
    statuses = [container | {"state": state}] if state is not None else []
    return {
        "metadata": {"name": f"{NAME}-x7k2p", "namespace": "science", "creationTimestamp": created},
        "spec": {"nodeName": "gpu-1", "containers": [container]},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": statuses, **status},
    }


def make_event(reason: str, message: str, at: str = "2026-11-24T12:00:05Z") -> KubernetesObject:
    return {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": at}


def waiting(reason: str, message: str = "") -> KubernetesObject:
    return {"waiting": {"reason": reason, "message": message}}


def running() -> KubernetesObject:
    return {"running": {"startedAt": "2026-11-24T12:00:09Z"}}


def terminated(exit_code: int, reason: str = "Error", message: str = "") -> KubernetesObject:
    return {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}


def unschedulable(message: str) -> KubernetesObject:
    """A pod that the scheduler found no node for."""
    return make_pod(make_condition("PodScheduled", "False", "Unschedulable", message))


def on_node(*conditions: KubernetesObject, **pod: Any) -> KubernetesObject:  # noqa: ANN401 - as make_pod
    """A pod that has a node."""
    return make_pod(make_condition("PodScheduled"), *conditions, **pod)


def disrupted(reason: str, message: str, /, **pod: Any) -> KubernetesObject:  # noqa: ANN401 - as make_pod
    """A pod that something took from its node, or is about to."""
    return on_node(make_condition("DisruptionTarget", "True", reason, message), **pod)


def deleted(thing: KubernetesObject) -> KubernetesObject:
    """The same Job or pod after somebody asked for it to be deleted."""
    return thing | {"metadata": thing["metadata"] | {"deletionTimestamp": "2026-11-24T12:01:00Z"}}

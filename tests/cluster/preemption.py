"""Preemption: a pod of a higher priority takes the GPUs of the pods that have them."""

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.busybox_pods import build_pod
from cluster.kubectl import Document, Kubectl
from cluster.local_cluster import GPU, NUM_GPUS

_CLASS = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 9}


@contextmanager
def all_gpus_taken(kubectl: Kubectl) -> Iterator[None]:
    """Preempt whatever uses a GPU, and let nothing have one for as long as the block lasts."""
    resources = {"resources": {"limits": {GPU: str(NUM_GPUS)}}}
    pod = build_pod("urgent", "sleep 600", container=resources, priorityClassName="urgent")
    try:
        kubectl.apply(_CLASS, pod)
        kubectl.wait_for("pod", "urgent", _is_running, seconds=120)
        yield
    finally:
        kubectl.delete("pod", "urgent")
        kubectl.delete("priorityclass", "urgent")


def _is_running(pod: Document) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")

"""Why no node takes a pod: the words of the scheduler. Pure.

The patterns are the messages of Kubernetes 1.31 to 1.34; what none of them fits is told as it is. From 1.34 the
scheduler names no taints any more.
"""

import re
from dataclasses import dataclass

from flows.cluster_settings import KubernetesObject
from flows.diagnosis import Category, Diagnosis, Effect
from flows.pod_status import build_command, end_sentence, read_condition


@dataclass(frozen=True, slots=True)
class _Rule:
    """A message, and what it means."""

    pattern: str
    category: Category
    summary: str
    """May hold ``{0}``, what the pattern's first group matched."""
    remedy: str


_TOLERATE = "Let workers tolerate the taint: worker.tolerations in the chart's values."

_RULES = (
    # A GPU node's own taint explains more than the nodes without GPUs beside it do.
    _Rule(r"untolerated taint \{([^}:]*gpu[^}:]*)", Category.TAINT, "kept away by the taint {0}", _TOLERATE),
    _Rule(
        r"Insufficient ([\w.-]+/[\w.-]*\w)",
        Category.GPU,
        "waiting for {0}",
        "It starts when one is free. `kubectl describe nodes` shows who holds them, and nodes that have none for want "
        "of a device plugin, or a taint.",
    ),
    _Rule(
        r"volume node affinity conflict|PersistentVolume's node affinity|no available volume zone",
        Category.VOLUME_NODE,
        "waiting for a place beside its volume",
        "Its volume can be used on one node or in one zone only. Workers on several nodes need a cache with "
        "ReadWriteMany, and results likewise or on S3.",
    ),
    _Rule(
        r"unbound immediate PersistentVolumeClaims|persistentvolumeclaim .*not found|persistent volumes to bind"
        r"|non-existent pv|enough free storage",
        Category.VOLUME_UNBOUND,
        "waiting for a volume",
        "`kubectl get pvc` shows the claim. Where there is no default StorageClass, name one or an existing claim in "
        "the chart's values.",
    ),
    _Rule(
        r"untolerated taint \{node\.kubernetes\.io/(?:not-ready|unreachable|network-unavailable)",
        Category.NODE_LOST,
        "waiting for a node that answers",
        "It starts when a node is ready: `kubectl get nodes`.",
    ),
    _Rule(
        r"Insufficient [\w-]+|untolerated taint \{node\.kubernetes\.io/(?:memory|disk|pid)-pressure|Too many pods",
        Category.ROOM,
        "waiting for room on a node",
        "It starts when other pods end. If no node is as large as that, lower worker.resources in the chart's values.",
    ),
    _Rule(
        r"node affinity/selector",
        Category.NODE_SELECTION,
        "waiting for a node with the right labels",
        "Compare worker.nodeSelector and worker.affinity in the chart's values with `kubectl get nodes --show-labels`.",
    ),
    _Rule(
        r"were unschedulable",
        Category.CORDONED,
        "waiting for a node that takes pods",
        "It starts when a node takes pods again: `kubectl uncordon`.",
    ),
    _Rule(
        r"untolerated taint",
        Category.TAINT,
        "kept away by a taint",
        "`kubectl describe nodes` shows the taint. Let workers tolerate it (worker.tolerations in the chart's values), "
        "or see to the node if that is what it says.",
    ),
)

_AFTERTHOUGHT = re.compile(r"\.? (?:no new claims to deallocate|still not schedulable|preemption:).*", re.DOTALL)
"""What the scheduler adds on making room by preemption, which failed, or the pod would not wait."""


def diagnose_unscheduled(pod: KubernetesObject) -> Diagnosis:
    """Say why the scheduler found no node for a pod, whose condition ``PodScheduled`` is false."""
    scheduled = read_condition(pod, "PodScheduled")
    message = _AFTERTHOUGHT.sub("", scheduled.get("message", ""))
    nodes = re.match(r"\d+/\d+ nodes are available", message)
    where = f": {nodes[0]}" if nodes else ""
    for rule in _RULES:
        if match := re.search(rule.pattern, message):
            return Diagnosis(
                category=rule.category,
                effect=Effect.WAITS,
                summary=rule.summary.format(*match.groups()) + where,
                problem=f"No node takes the pod: {end_sentence(message)}",
                remedy=rule.remedy,
            )
    return Diagnosis(
        category=Category.UNSCHEDULABLE,
        effect=Effect.WAITS,
        summary=f"waiting for a node{where}",
        problem=f"No node takes the pod: {end_sentence(message or scheduled.get('reason', 'no reason given'))}",
        remedy=f"See {build_command('describe pod', pod)}.",
    )

"""What a plan must be to run on a cluster: checked as a whole before the first Job exists.

A Job that can never start holds a comparison up for ever, and one that fails after an hour's queue has cost that hour.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flows.cluster_settings import KubernetesSettings
from flows.deployment import is_local
from flows.hub_access import HubRepository, find_refusals
from worker.contract.data_files import find_form, is_local_file
from worker.contract.errors import ConfigError
from worker.contract.plan import LANGUAGE_NAMES, Plan

_FILE_KINDS = ("folder", "gguf")
_QUANTITY = re.compile(r"(\d+)([kMG]?)")
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_MEMORY_QUANTITY = re.compile(r"([\d.]+)([KMGTk]?)(i?)")
_POWERS = {"": 0, "K": 1, "k": 1, "M": 2, "G": 3, "T": 4}

GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"
"""Of a node: memory of each of its GPUs, in MiB. Source: NVIDIA, GPU feature discovery."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the cluster says about itself, in the API's own form."""

    nodes: Sequence[Mapping[str, Any]] = ()
    """Read with ``check_nodes`` only."""
    quotas: Sequence[Mapping[str, Any]] = ()
    """The namespace's ResourceQuotas."""


class Problem(NamedTuple):
    """One reason why a plan cannot run."""

    text: str
    remedy: str


def check_cluster_plan(
    plan: Plan, settings: KubernetesSettings, facts: ClusterFacts, warn: Callable[[str], object]
) -> None:
    """Refuse a plan that cannot run on this cluster.

    Args:
        plan: What is to be compared.
        settings: How its Jobs are made.
        facts: What the cluster has.
        warn: Told what could not be checked.

    Raises:
        ConfigError: Names everything that is in the way, and each remedy once.
    """
    problems = [
        *_check_paths(plan, settings.visible_paths),
        *_check_gpus(settings, facts.nodes),
        *_check_quotas(settings, facts.quotas),
    ]
    if not settings.has_hub_token:  # the runner has none at all, so with one it could not see what a Job may
        problems += [Problem(each.problem, each.remedy) for each in find_refusals(_hub_repositories(plan), warn)]
    if problems:
        raise ConfigError(
            f"The plan {plan.name!r} cannot run on this cluster. {' '.join(each.text for each in problems)}",
            remedy=" ".join(dict.fromkeys(each.remedy for each in problems)),
        )


def find_gpu_memory(settings: KubernetesSettings, facts: ClusterFacts) -> int | None:
    """Return the bytes of the largest GPU that an arm may get.

    Returns:
        None if arms ask for none, or nobody says: a node without the label may have any.
    """
    if not settings.gpus_per_arm:
        return None
    if settings.gpu_memory is not None:
        return _memory_quantity(settings.gpu_memory)
    nodes = [node for node in facts.nodes if _num_gpus(node, settings.gpu_resource) >= settings.gpus_per_arm]
    labels = [str((node["metadata"].get("labels") or {}).get(GPU_MEMORY_LABEL, "")) for node in nodes]
    return max(map(int, labels)) * 2**20 if labels and all(map(str.isdecimal, labels)) else None


def _memory_quantity(text: str) -> int:
    """Read bytes as Kubernetes writes them. Source: apimachinery, resource.Quantity."""
    match = _MEMORY_QUANTITY.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no quantity of memory"
        raise AssertionError(msg)  # the settings let nothing else through
    return int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2]])


def _check_paths(plan: Plan, visible_paths: Sequence[str]) -> Iterator[Problem]:
    """Find the files that pods cannot see."""
    sources = {f"data.{key}": str(value) for key, value in plan.data if key.endswith("source") and value is not None}
    paths = {where: source for where, source in sources.items() if is_local(source) or is_local_file(source)}
    backbones = {f"the backbone of arm {arm.label!r}": arm.backbone for arm in plan.arms}
    paths |= {where: spec.source for where, spec in backbones.items() if spec.kind in _FILE_KINDS}
    hidden = [f"{where} is {source}" for where, source in paths.items() if not _is_below(source, visible_paths)]
    if hidden:
        yield Problem(
            f"Its pods do not see these files: {'; '.join(hidden)}.",
            f"Put them below one of {', '.join(visible_paths) or 'the mounted paths (there are none)'}, or mount their "
            "volume (worker.extraVolumes, worker.extraVolumeMounts), or name a URL or a hub id.",
        )


def _is_below(source: str, folders: Sequence[str]) -> bool:
    place = source.rpartition("::")[2]
    path = posixpath.normpath(re.sub(r"^[a-z]+:(//)?", "", place, flags=re.IGNORECASE))
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _check_gpus(settings: KubernetesSettings, nodes: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Find out whether any node could ever run an arm: one that is busy, cordoned or not ready may do so later."""
    if not settings.check_nodes or not settings.gpus_per_arm:
        return
    most = max((_num_gpus(node, settings.gpu_resource) for node in nodes), default=0)
    if most < settings.gpus_per_arm:
        yield Problem(
            f"An arm asks for {settings.gpus_per_arm} {settings.gpu_resource}, and of {len(nodes)} nodes the best has "
            f"{most}.",
            "Add a node with GPUs and its device plugin, lower worker.gpu.count, or train on CPUs "
            "(worker.gpu.enabled=false). Where an autoscaler adds nodes when they are asked for, switch this check off "
            "(rbac.readNodes=false).",
        )


def _num_gpus(node: Mapping[str, Any], resource: str) -> int:
    allocatable: Mapping[str, str] = (node.get("status") or {}).get("allocatable") or {}
    return _quantity(allocatable.get(resource, "0"))


def _check_quotas(settings: KubernetesSettings, quotas: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Find the quotas that are too small for a single arm. What is used now is left out: an arm waits for that."""
    needs = {"count/jobs.batch": 1, "count/pods": 1, "pods": 1}
    if settings.gpus_per_arm:
        needs[f"requests.{settings.gpu_resource}"] = settings.gpus_per_arm
    for quota in quotas:
        spec = quota.get("spec") or {}
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue  # it holds for some pods only, and the API server alone decides for which
        hard = spec.get("hard") or {}
        for name, need in needs.items():
            if name in hard and _quantity(hard[name]) < need:
                yield Problem(
                    f"An arm needs {name}={need}, and the ResourceQuota {quota['metadata']['name']!r} allows "
                    f"{hard[name]}.",
                    f"Have the quota of namespace {settings.namespace!r} raised, or install the release in another.",
                )


def _quantity(text: str) -> int:
    """Read a count as Kubernetes writes it. Source: apimachinery, resource.Quantity, decimal suffixes."""
    match = _QUANTITY.fullmatch(str(text))
    return int(match[1]) * _FACTORS[match[2]] if match else 0


def _hub_repositories(plan: Plan) -> list[HubRepository]:
    """Return the repositories that the plan takes from the hub, each once."""
    found = [
        HubRepository("models", arm.backbone.source, arm.backbone.revision)
        for arm in plan.arms
        if arm.backbone.kind == "hub"
    ]
    if plan.data.source != LANGUAGE_NAMES and find_form(plan.data.source) is None:
        found.append(HubRepository("datasets", plan.data.source, plan.data.revision))
    return list(dict.fromkeys(found))

"""Why a pod does not start: the words of the scheduler, of the kubelet, and of events. Pure."""

import re
from collections.abc import Collection, Sequence

from flows.cluster_settings import WORKER_CONTAINER, KubernetesObject
from flows.diagnosis import Category, Diagnosis, Effect
from flows.pod_scheduling import diagnose_unscheduled
from flows.pod_status import build_command, end_sentence, is_true, read_condition, read_worker_state

_IMAGE_REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
"""Source: pkg/kubelet/images/types.go and k8s.io/cri-api/pkg/errors, 1.34."""

_ATTACH_REASONS = frozenset({"FailedAttachVolume"})
_VOLUME_REASONS = frozenset({"FailedAttachVolume", "FailedMount"})
_REFUSAL_REASONS = frozenset({"FailedCreate"})
"""Reasons of events."""

_USUAL_REASONS = frozenset({"ContainerCreating", "PodInitializing"})
"""What every container waits for on its way."""


def diagnose_waiting(pod: KubernetesObject, events: Sequence[KubernetesObject] = ()) -> Diagnosis | None:
    """Say why a pod has not started; None if nothing speaks against its starting soon.

    Args:
        pod: The pod.
        events: Of this pod. That a volume is attached elsewhere, or cannot be mounted, is in no status.
    """
    if read_condition(pod, "PodScheduled").get("status") == "False":
        return diagnose_unscheduled(pod)
    waiting = read_worker_state(pod, "waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _IMAGE_REASONS:
        return Diagnosis(
            category=Category.IMAGE,
            effect=Effect.STUCK,
            summary=f"no image ({reason})",
            problem=f"The image {_read_image(pod)} cannot be had: {end_sentence(message or reason)}",
            remedy="Check images.worker in the chart's values: registry, repository, tag, pull policy. A private "
            "registry needs imagePullSecrets.",
        )
    if reason and reason not in _USUAL_REASONS:
        return _diagnose_container(reason, message)
    # Events stay for an hour: those of a pod that has its volumes by now are of the past.
    has_volumes = read_worker_state(pod, "running") is not None or is_true(pod, "PodReadyToStartContainers")
    return None if has_volumes else _diagnose_volumes(pod, events)


def diagnose_refused(job: KubernetesObject, events: Sequence[KubernetesObject]) -> Diagnosis | None:
    """Say why a Job has no pod: its controller was not allowed to make one. Only events tell."""
    refused = _last_message(events, _REFUSAL_REASONS)
    if not refused:
        return None
    if "exceeded quota" in refused:
        return Diagnosis(
            category=Category.QUOTA,
            effect=Effect.WAITS,
            summary="waiting for the namespace's quota",
            problem=f"The namespace's quota is used up: {end_sentence(refused)}",
            remedy="It starts when others have ended, or when the quota is raised.",
        )
    return Diagnosis(
        category=Category.REFUSED,
        effect=Effect.STUCK,
        summary="the cluster refuses its pod",
        problem=f"The cluster refuses the pod of {job['metadata']['name']}: {end_sentence(refused)}",
        remedy="Change the chart's values so that the pod is allowed. The Job goes on trying.",
    )


def _diagnose_container(reason: str, message: str) -> Diagnosis:
    if reason == "CreateContainerConfigError" and re.search(r"not found|couldn't find key", message):
        return Diagnosis(
            category=Category.REFERENCE,
            effect=Effect.STUCK,
            summary="a Secret or ConfigMap is missing",
            problem=f"The container cannot be set up: {end_sentence(message)}",
            remedy="Create what is missing, and the pod goes on by itself; or name another in the chart's values.",
        )
    return Diagnosis(
        category=Category.CONTAINER,
        effect=Effect.STUCK,
        summary=f"the container does not start ({reason})",
        problem=f"The container cannot be started ({reason}): {end_sentence(message or 'no message')}",
        remedy="Check the image and what the chart's values add to worker pods.",
    )


def _diagnose_volumes(pod: KubernetesObject, events: Sequence[KubernetesObject]) -> Diagnosis | None:
    message = _last_message(events, _VOLUME_REASONS)
    if not message:
        return None
    # The kubelet, which waits for the volume, says later and less clearly what the attach controller has said.
    attached = _last_message([each for each in events if "Multi-Attach" in each.get("message", "")], _ATTACH_REASONS)
    if attached:
        return Diagnosis(
            category=Category.VOLUME_ATTACHED,
            effect=Effect.WAITS,
            summary="waiting for a volume that another node uses",
            problem=f"A volume of the pod is in use elsewhere: {end_sentence(attached)}",
            remedy="It starts when the other pods have ended. Workers on several nodes at once need a cache with "
            "ReadWriteMany, and results likewise or on S3.",
        )
    return Diagnosis(
        category=Category.VOLUME_MOUNT,
        effect=Effect.STUCK,
        summary="a volume cannot be mounted",
        problem=f"A volume of the pod cannot be mounted: {end_sentence(message)}",
        remedy=f"See {build_command('describe pod', pod)}; the kubelet tries again by itself.",
    )


def _last_message(events: Sequence[KubernetesObject], reasons: Collection[str]) -> str:
    found = [event for event in events if event.get("reason") in reasons]
    newest = max(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "", default={})
    return str(newest.get("message", ""))


def _read_image(pod: KubernetesObject) -> str:
    containers = pod["spec"]["containers"]
    return str(next(container["image"] for container in containers if container["name"] == WORKER_CONTAINER))

"""Why pods do not start: one status per trouble, in the words of Kubernetes 1.31 to 1.34."""

import pytest

from diagnosis_cases import Case, diagnose_case
from flows.diagnosis import Category, Effect
from flows.pod_diagnosis import diagnose
from kubernetes_objects import make_condition, make_event, make_job, make_pod, on_node, running, unschedulable, waiting

NO_VICTIMS = (
    " no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
)
CASES = {
    "no GPU left": Case(
        unschedulable(f"0/1 nodes are available: 1 Insufficient nvidia.com/gpu.{NO_VICTIMS}"),
        Category.GPU,
        Effect.WAITS,
        "No node takes the pod: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        "device plugin",
    ),
    "no GPU left beside control-plane nodes": Case(
        unschedulable(
            "0/4 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
            "3 Insufficient nvidia.com/gpu. preemption: 0/4 nodes are available: 1 Preemption is not helpful for "
            "scheduling, 3 No preemption victims found for incoming pod."
        ),
        Category.GPU,
        Effect.WAITS,
        "3 Insufficient nvidia.com/gpu.",
        "device plugin",
    ),
    "a GPU of another kind": Case(
        unschedulable("0/2 nodes are available: 2 Insufficient amd.com/gpu."),
        Category.GPU,
        Effect.WAITS,
        "Insufficient amd.com/gpu",
        "device plugin",
    ),
    "the taint of GPU nodes": Case(
        unschedulable(
            "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint "
            "{nvidia.com/gpu: present}."
        ),
        Category.TAINT,
        Effect.WAITS,
        "{nvidia.com/gpu: present}",
        "worker.tolerations",
    ),
    "another taint": Case(
        unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint {team: vision}."),
        Category.TAINT,
        Effect.WAITS,
        "{team: vision}",
        "worker.tolerations",
    ),
    "a taint without a name": Case(
        unschedulable(f"0/1 nodes are available: 1 node(s) had untolerated taint(s).{NO_VICTIMS}"),
        Category.TAINT,
        Effect.WAITS,
        "untolerated taint(s)",
        "worker.tolerations",
    ),
    "no CPU left": Case(
        unschedulable("0/1 nodes are available: 1 Insufficient cpu."),
        Category.ROOM,
        Effect.WAITS,
        "Insufficient cpu",
        "worker.resources",
    ),
    "no memory left": Case(
        unschedulable("0/2 nodes are available: 1 Insufficient cpu, 2 Insufficient memory."),
        Category.ROOM,
        Effect.WAITS,
        "Insufficient memory",
        "worker.resources",
    ),
    "a node that is short of disk": Case(
        unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }."),
        Category.ROOM,
        Effect.WAITS,
        "disk-pressure",
        "worker.resources",
    ),
    "as many pods as a node may have": Case(
        unschedulable("0/1 nodes are available: 1 Too many pods."),
        Category.ROOM,
        Effect.WAITS,
        "Too many pods",
        "other pods end",
    ),
    "no node that is ready": Case(
        unschedulable("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."),
        Category.NODE_LOST,
        Effect.WAITS,
        "not-ready",
        "kubectl get nodes",
    ),
    "no node with the labels": Case(
        unschedulable("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
        Category.NODE_SELECTION,
        Effect.WAITS,
        "node affinity/selector",
        "worker.nodeSelector",
    ),
    "a node that was cordoned": Case(
        unschedulable("0/1 nodes are available: 1 node(s) were unschedulable."),
        Category.CORDONED,
        Effect.WAITS,
        "were unschedulable",
        "kubectl uncordon",
    ),
    "a claim without a volume": Case(
        unschedulable(
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are "
            "available: 1 Preemption is not helpful for scheduling."
        ),
        Category.VOLUME_UNBOUND,
        Effect.WAITS,
        "unbound immediate PersistentVolumeClaims.",
        "kubectl get pvc",
    ),
    "a claim that is not there": Case(
        unschedulable('0/1 nodes are available: persistentvolumeclaim "bench-results" not found. not found'),
        Category.VOLUME_UNBOUND,
        Effect.WAITS,
        '"bench-results" not found',
        "kubectl get pvc",
    ),
    "a volume on another node": Case(
        unschedulable("0/2 nodes are available: 2 node(s) had volume node affinity conflict."),
        Category.VOLUME_NODE,
        Effect.WAITS,
        "volume node affinity conflict",
        "ReadWriteMany",
    ),
    "a volume in another zone": Case(
        unschedulable("0/2 nodes are available: 2 node(s) had no available volume zone."),
        Category.VOLUME_NODE,
        Effect.WAITS,
        "no available volume zone",
        "ReadWriteMany",
    ),
    "a volume on another node, in newer words": Case(
        unschedulable("0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity."),
        Category.VOLUME_NODE,
        Effect.WAITS,
        "PersistentVolume's node affinity",
        "ReadWriteMany",
    ),
    "gates": Case(
        make_pod(
            make_condition(
                "PodScheduled", "False", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"
            )
        ),
        Category.UNSCHEDULABLE,
        Effect.WAITS,
        "scheduling gates",
        "kubectl describe pod fb-tickets-live-qwen3-0a1b2c3d-x7k2p -n science",
    ),
    "an image that is not there": Case(
        on_node(
            state=waiting(
                "ImagePullBackOff",
                'Back-off pulling image "registry.example/freeze-bench-worker:0.1.0": ErrImagePull: failed to resolve '
                "reference: not found",
            )
        ),
        Category.IMAGE,
        Effect.STUCK,
        "The image registry.example/freeze-bench-worker:0.1.0 cannot be had: Back-off pulling image",
        "imagePullSecrets",
    ),
    "an image that cannot be fetched": Case(
        on_node(state=waiting("ErrImagePull", "dial tcp 192.0.2.1:443: connect: connection refused")),
        Category.IMAGE,
        Effect.STUCK,
        "connection refused.",
        "images.worker",
    ),
    "an image that is no name": Case(
        on_node(
            state=waiting("InvalidImageName", 'Failed to apply default image tag "A:b:c": invalid reference format')
        ),
        Category.IMAGE,
        Effect.STUCK,
        "invalid reference format",
        "images.worker",
    ),
    "an image that no node has": Case(
        on_node(state=waiting("ErrImageNeverPull", 'Container image "x" is not present with pull policy of Never')),
        Category.IMAGE,
        Effect.STUCK,
        "pull policy of Never",
        "pull policy",
    ),
    "a Secret that is not there": Case(
        on_node(state=waiting("CreateContainerConfigError", 'secret "hub-token" not found')),
        Category.REFERENCE,
        Effect.STUCK,
        'secret "hub-token" not found.',
        "Create what is missing",
    ),
    "a key that is not in its Secret": Case(
        on_node(state=waiting("CreateContainerConfigError", "couldn't find key token in Secret science/hub-token")),
        Category.REFERENCE,
        Effect.STUCK,
        "couldn't find key token",
        "Create what is missing",
    ),
    "an image that wants to be root": Case(
        on_node(
            state=waiting(
                "CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: x)"
            )
        ),
        Category.CONTAINER,
        Effect.STUCK,
        "image will run as root",
        "Check the image",
    ),
    "a container that cannot be made": Case(
        on_node(state=waiting("CreateContainerError", "context deadline exceeded")),
        Category.CONTAINER,
        Effect.STUCK,
        "(CreateContainerError): context deadline exceeded.",
        "Check the image",
    ),
    "a container that cannot be started": Case(
        on_node(state=waiting("RunContainerError", 'exec: "python": executable file not found in $PATH')),
        Category.CONTAINER,
        Effect.STUCK,
        "executable file not found",
        "Check the image",
    ),
    "a volume that another node uses": Case(
        on_node(state=waiting("ContainerCreating")),
        Category.VOLUME_ATTACHED,
        Effect.WAITS,
        "Volume is already used by pod(s) fb-tickets-frozen-llama-1",
        "ReadWriteMany",
        (
            make_event("Scheduled", "Successfully assigned science/x to gpu-2"),
            make_event(
                "FailedAttachVolume",
                'Multi-Attach error for volume "pvc-1f" Volume is already used by pod(s) fb-tickets-frozen-llama-1',
            ),
        ),
    ),
    "a volume that cannot be mounted": Case(
        on_node(state=waiting("ContainerCreating")),
        Category.VOLUME_MOUNT,
        Effect.STUCK,
        "hostPath type check failed: /data is not a directory",
        "kubectl describe pod",
        (
            make_event("FailedMount", "an older trouble", "2026-11-24T12:00:01Z"),
            make_event(
                "FailedMount",
                'MountVolume.SetUp failed for volume "data" : hostPath type check failed: /data is not a directory',
            ),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_trouble_has_its_category_its_words_and_a_remedy(name: str) -> None:
    case = CASES[name]
    diagnosis = diagnose_case(case)
    assert (diagnosis.category, diagnosis.effect) == (case.category, case.effect)
    assert case.said in diagnosis.problem
    assert case.remedy in diagnosis.remedy


def test_events_of_a_worker_that_runs_by_now_are_of_the_past() -> None:
    pod = on_node(phase="Running", state=running())
    assert diagnose(pod, make_job(), CASES["a volume that cannot be mounted"].events) is None


def test_a_job_whose_pod_is_refused_says_by_what() -> None:
    words = 'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    diagnosis = diagnose(None, make_job(), [make_event("FailedCreate", words)])
    assert diagnosis is not None
    assert (diagnosis.category, diagnosis.effect) == (Category.REFUSED, Effect.STUCK)
    assert "runAsNonRoot" in diagnosis.problem
    assert diagnose(None, make_job()) is None


def test_a_quota_that_is_used_up_is_waited_for() -> None:
    words = 'Error creating: pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1'
    diagnosis = diagnose(None, make_job(), [make_event("FailedCreate", words)])
    assert diagnosis is not None
    assert (diagnosis.category, diagnosis.effect) == (Category.QUOTA, Effect.WAITS)
    assert "exceeded quota: gpus" in diagnosis.problem


def test_a_volume_that_was_hard_to_mount_is_of_the_past_once_it_is_mounted() -> None:
    pod = on_node(state=waiting("ContainerCreating"))
    events = CASES["a volume that cannot be mounted"].events
    assert diagnose(pod, make_job(), events) is not None
    pod["status"]["conditions"].append({"type": "PodReadyToStartContainers", "status": "True"})
    assert diagnose(pod, make_job(), events) is None


def test_a_volume_in_use_elsewhere_is_waited_for_also_when_the_kubelet_has_the_last_word() -> None:
    events = [
        make_event("FailedAttachVolume", "Multi-Attach error for volume", at="2026-11-24T12:00:00Z"),
        make_event("FailedMount", "Unable to attach or mount volumes", at="2026-11-24T12:02:00Z"),
    ]
    diagnosis = diagnose(on_node(state=waiting("ContainerCreating")), make_job(), events)
    assert diagnosis is not None
    assert (diagnosis.category, diagnosis.effect) == (Category.VOLUME_ATTACHED, Effect.WAITS)

"""Why pods end badly: one status per trouble, in the words of Kubernetes 1.31 to 1.34."""

import pytest

from diagnosis_cases import Case, diagnose_case
from flows.diagnosis import Category, Effect
from flows.pod_diagnosis import diagnose
from kubernetes_objects import deleted, disrupted, make_condition, make_job, on_node, running, terminated, waiting
from worker.contract.errors import ExitCode
from worker.contract.results import Failure

LAST_WORDS = Failure(
    exit_code=42, problem="acme/gated may not be read without a token.", remedy="Accept its terms and set a token."
).model_dump_json()

CASES = {
    "out of memory": Case(
        on_node(phase="Failed", state=terminated(137, "OOMKilled")),
        Category.MEMORY,
        Effect.COUNTED_RETRY,
        "memory limit",
        "worker.resources.limits.memory",
    ),
    "evicted because the node was short": Case(
        disrupted(
            "TerminationByKubelet",
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 60Mi. ",
            phase="Failed",
            state=terminated(137),
            reason="Evicted",
        ),
        Category.EVICTED,
        Effect.FREE_RETRY,
        "low on resource: memory",
        "by itself",
    ),
    "evicted because it used too much": Case(
        on_node(
            phase="Failed",
            state=terminated(137),
            reason="Evicted",
            message='Usage of EmptyDir volume "shm" exceeds the limit "1Gi". ',
        ),
        Category.EVICTED,
        Effect.COUNTED_RETRY,
        'EmptyDir volume "shm" exceeds the limit "1Gi".',
        "the limit that is named",
    ),
    "preempted": Case(
        disrupted(
            "PreemptionByScheduler",
            "default-scheduler: preempting to accommodate a higher priority pod",
            phase="Failed",
            state=terminated(143),
        ),
        Category.PREEMPTED,
        Effect.FREE_RETRY,
        "higher priority",
        "by itself",
    ),
    "its node was drained": Case(
        disrupted("EvictionByEvictionAPI", "Eviction API: evicting", phase="Failed", state=terminated(143)),
        Category.DISRUPTED,
        Effect.FREE_RETRY,
        "Eviction API: evicting.",
        "by itself",
    ),
    "its node shuts down": Case(
        disrupted(
            "TerminationByKubelet",
            "Pod was terminated in response to imminent node shutdown.",
            phase="Failed",
            state=terminated(143),
            reason="Terminated",
        ),
        Category.DISRUPTED,
        Effect.FREE_RETRY,
        "imminent node shutdown.",
        "by itself",
    ),
    "its node was tainted": Case(
        disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", state=terminated(143)),
        Category.NODE_LOST,
        Effect.FREE_RETRY,
        "NoExecute taint",
        "by itself",
    ),
    "its node was given up": Case(
        deleted(
            disrupted(
                "DeletionByTaintManager",
                "Taint manager: deleting due to NoExecute taint",
                phase="Running",
                state=running(),
            )
        ),
        Category.NODE_LOST,
        Effect.FREE_RETRY,
        "does not answer",
        "kubectl delete node",
    ),
    "its node does not answer": Case(
        on_node(make_condition("ContainersReady"), make_condition("Ready", "False"), phase="Running", state=running()),
        Category.NODE_LOST,
        Effect.FREE_RETRY,
        "Its node gpu-1 does not answer",
        "kubectl delete node",
    ),
    "its node was lost while it was being deleted": Case(
        deleted(on_node(phase="Running", state=running(), reason="NodeLost")),
        Category.NODE_LOST,
        Effect.FREE_RETRY,
        "Its node gpu-1 does not answer",
        "kubectl delete node",
    ),
    "its state cannot be had": Case(
        on_node(phase="Unknown", state=running()),
        Category.NODE_LOST,
        Effect.FREE_RETRY,
        "Its node gpu-1 does not answer",
        "kubectl delete node",
    ),
    "its node was removed": Case(
        disrupted("DeletionByPodGC", "PodGC: node no longer exists", phase="Failed", state=running()),
        Category.NODE_LOST,
        Effect.FREE_RETRY,
        "no longer exists",
        "another pod goes on",
    ),
    "a disruption of a kind that came later": Case(
        disrupted("DeletionByMaintenance", "the row is being cooled", phase="Failed", state=terminated(143)),
        Category.DISRUPTED,
        Effect.FREE_RETRY,
        "(DeletionByMaintenance): the row is being cooled.",
        "by itself",
    ),
    "disrupted in the middle of a failure": Case(
        disrupted("EvictionByEvictionAPI", "Eviction API: evicting", phase="Failed", state=terminated(40)),
        Category.DISRUPTED,
        Effect.FREE_RETRY,
        "evicting",
        "by itself",
    ),
    "took too long": Case(
        on_node(
            phase="Failed",
            state=terminated(143),
            reason="DeadlineExceeded",
            message="Pod was active on the node longer than the specified deadline",
        ),
        Category.DEADLINE,
        Effect.COUNTED_RETRY,
        "longer than its pod may run",
        "jobs.runDeadlineSeconds",
    ),
    "a GPU that is ill": Case(
        on_node(
            phase="Failed",
            reason="UnexpectedAdmissionError",
            message="Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate unhealthy "
            "devices nvidia.com/gpu, which is unexpected",
        ),
        Category.GPU,
        Effect.COUNTED_RETRY,
        "no healthy devices present",
        "kubectl describe nodes",
    ),
    "no room on the node after all": Case(
        on_node(
            phase="Failed",
            reason="OutOfcpu",
            message="Pod was rejected: Node didn't have enough resource: cpu, requested: 1000, used: 2000, "
            "capacity: 2000",
        ),
        Category.ROOM,
        Effect.COUNTED_RETRY,
        "enough resource: cpu",
        "kubectl describe nodes",
    ),
    "gave up and said why": Case(
        on_node(phase="Failed", state=terminated(42, message=LAST_WORDS)),
        Category.WORKER,
        Effect.STOPS,
        "acme/gated may not be read without a token.",
        "Accept its terms and set a token.",
    ),
    "gave up, and the reason names memory": Case(
        on_node(phase="Failed", state=terminated(43, "OOMKilled", LAST_WORDS)),
        Category.WORKER,
        Effect.STOPS,
        "acme/gated",
        "Accept",
    ),
    "gave up just before its deadline": Case(
        on_node(phase="Failed", state=terminated(42, message=LAST_WORDS), reason="DeadlineExceeded"),
        Category.WORKER,
        Effect.STOPS,
        "acme/gated",
        "Accept",
    ),
    "gave up without last words": Case(
        on_node(phase="Failed", state=terminated(45)),
        Category.WORKER,
        Effect.STOPS,
        "exit code 45 (device) and no explanation.",
        "kubectl logs fb-tickets-live-qwen3-0a1b2c3d-x7k2p -n science",
    ),
    "last words that were cut": Case(
        on_node(phase="Failed", state=terminated(1, message=LAST_WORDS[20:])),
        Category.WORKER,
        Effect.COUNTED_RETRY,
        "The end of its log: " + LAST_WORDS[20:60],
        "kubectl logs",
    ),
    "the end of a log instead of last words": Case(
        on_node(phase="Failed", state=terminated(1, message="x" * 2000 + "\nOSError: [Errno 28] No space left\n")),
        Category.WORKER,
        Effect.COUNTED_RETRY,
        "exit code 1 (error) and no explanation. The end of its log: xxx",
        "kubectl logs",
    ),
    "an exit code of something else": Case(
        on_node(phase="Failed", state=terminated(3)),
        Category.WORKER,
        Effect.COUNTED_RETRY,
        "exit code 3 and no explanation.",
        "kubectl logs",
    ),
    "its pod was deleted": Case(
        deleted(on_node(phase="Failed", state=terminated(143))),
        Category.STOPPED,
        Effect.COUNTED_RETRY,
        "Its pod was deleted, and it ended in order.",
        "kubectl get events",
    ),
    "its pod is being deleted": Case(
        deleted(on_node(phase="Running", state=running())),
        Category.STOPPED,
        Effect.COUNTED_RETRY,
        "Its pod was deleted.",
        "kubectl get events",
    ),
    "told to stop by nobody that is known": Case(
        on_node(phase="Failed", state=terminated(143)),
        Category.STOPPED,
        Effect.COUNTED_RETRY,
        "The worker was told to stop",
        "kubectl get events",
    ),
    "killed": Case(
        on_node(phase="Failed", state=terminated(137)),
        Category.KILLED,
        Effect.COUNTED_RETRY,
        "killed by SIGKILL.",
        "terminationGracePeriodSeconds",
    ),
    "shared memory too small": Case(
        on_node(phase="Failed", state=terminated(135)),
        Category.KILLED,
        Effect.COUNTED_RETRY,
        "killed by SIGBUS.",
        "worker.sharedMemory",
    ),
    "native code that crashed": Case(
        on_node(phase="Failed", state=terminated(139)),
        Category.KILLED,
        Effect.COUNTED_RETRY,
        "killed by SIGSEGV.",
        "log",
    ),
    "a signal without a name": Case(
        on_node(phase="Failed", state=terminated(255)),
        Category.KILLED,
        Effect.COUNTED_RETRY,
        "killed by signal 127.",
        "log",
    ),
    "a process that never ran": Case(
        on_node(phase="Failed", state=terminated(128, "StartError", 'exec: "python": not found')),
        Category.CONTAINER,
        Effect.COUNTED_RETRY,
        '(StartError): exec: "python": not found.',
        "images.worker",
    ),
    "a container that its node lost": Case(
        on_node(phase="Failed", state=terminated(137, "ContainerStatusUnknown")),
        Category.NODE_LOST,
        Effect.COUNTED_RETRY,
        "lost sight of the container",
        "kubectl get nodes",
    ),
    "a pod that failed for another reason": Case(
        on_node(phase="Failed", state=waiting("PodInitializing"), reason="SysctlForbidden", message="not allowed"),
        Category.POD,
        Effect.COUNTED_RETRY,
        "SysctlForbidden: not allowed.",
        "kubectl describe pod",
    ),
    "a pod that failed for no reason": Case(
        on_node(phase="Failed"), Category.POD, Effect.COUNTED_RETRY, "no reason is given.", "kubectl describe pod"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_trouble_has_its_category_its_words_and_a_remedy(name: str) -> None:
    case = CASES[name]
    diagnosis = diagnose_case(case)
    assert (diagnosis.category, diagnosis.effect) == (case.category, case.effect)
    assert case.said in diagnosis.problem
    assert case.remedy in diagnosis.remedy


@pytest.mark.parametrize("code", list(ExitCode))
def test_a_worker_stops_its_job_by_the_permanent_codes_alone(code: ExitCode) -> None:
    diagnosis = diagnose(on_node(phase="Failed", state=terminated(code)), make_job())
    assert (diagnosis is not None and diagnosis.effect is Effect.STOPS) == code.is_permanent
    assert code == ExitCode.DONE or (diagnosis is not None and diagnosis.exit_code == code)


def test_a_worker_that_ended_well_did_whatever_the_reason_says() -> None:
    assert diagnose(on_node(phase="Succeeded", state=terminated(0, "OOMKilled")), make_job()) is None
    late = disrupted("EvictionByEvictionAPI", "Eviction API: evicting", phase="Running", state=terminated(0))
    assert diagnose(late, make_job()) is None

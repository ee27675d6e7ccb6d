"""What is said of a Job with its newest pod, and when nothing is."""

import pytest

from flows.diagnosis import Category, Effect
from flows.pod_diagnosis import diagnose
from kubernetes_objects import (
    KubernetesObject,
    deleted,
    make_condition,
    make_job,
    make_pod,
    on_node,
    running,
    terminated,
    waiting,
)
from worker.contract.results import Failure

LAST_WORDS = Failure(
    exit_code=42, problem="acme/gated may not be read without a token.", remedy="Accept its terms and set a token."
).model_dump_json()


def test_categories_and_effects_are_a_promise() -> None:
    assert {each.value for each in Category} == {
        "gpu", "room", "taint", "node-selection", "cordoned", "unschedulable", "volume-unbound", "volume-node",
        "volume-attached", "volume-mount", "quota", "refused", "image", "reference", "container", "memory", "evicted",
        "preempted", "disrupted", "node-lost", "deadline", "worker", "stopped", "killed", "pod", "job",
    }  # fmt: skip
    assert {each.value for each in Effect} == {"waits", "stuck", "free-retry", "counted-retry", "stops"}


@pytest.mark.parametrize(
    "pod",
    [
        make_pod(),
        on_node(),
        on_node(state=waiting("ContainerCreating")),
        on_node(state=waiting("PodInitializing")),
        on_node(make_condition("Ready"), make_condition("ContainersReady"), phase="Running", state=running()),
        on_node(phase="Succeeded", state=terminated(0, "Completed")),
    ],
)
def test_nothing_is_said_of_a_pod_that_does_what_it_should(pod: KubernetesObject) -> None:
    assert diagnose(pod, make_job()) is None


def test_other_containers_of_the_pod_have_no_say() -> None:
    pod = on_node(phase="Running", state=running())
    pod["status"]["containerStatuses"].insert(0, {"name": "proxy", "state": terminated(1)})
    assert diagnose(pod, make_job()) is None


def failed_job(reason: str, message: str, failed: int) -> KubernetesObject:
    return make_job(
        make_condition("FailureTarget", "True", reason, message),
        make_condition("Failed", "True", reason, message),
        failed=failed,
    )


def test_the_last_attempt_of_a_job_speaks_for_it_and_says_how_many_there_were() -> None:
    job = failed_job("BackoffLimitExceeded", "Job has reached the specified backoff limit", 4)
    diagnosis = diagnose(on_node(phase="Failed", state=terminated(137, "OOMKilled")), job)
    assert diagnosis is not None
    assert (diagnosis.category, diagnosis.effect, diagnosis.exit_code) == (Category.MEMORY, Effect.STOPS, 137)
    assert diagnosis.problem.endswith("It was the last of 4 attempts.")
    assert "goes on from where it was" in diagnosis.remedy


def test_a_job_without_retries_had_one_attempt() -> None:
    job = failed_job("BackoffLimitExceeded", "Job has reached the specified backoff limit", 1)
    diagnosis = diagnose(on_node(phase="Failed", state=terminated(1)), job)
    assert diagnosis is not None
    assert diagnosis.problem.endswith("It was the only attempt.")


POLICY = "Container worker for pod science/x-abcde failed with exit code 42 matching FailJob rule at index 1"


def test_a_job_that_a_permanent_code_stopped_says_what_its_worker_said() -> None:
    pod = on_node(phase="Failed", state=terminated(42, message=LAST_WORDS))
    diagnosis = diagnose(pod, failed_job("PodFailurePolicy", POLICY, 1))
    assert diagnosis is not None
    assert diagnosis.problem == "acme/gated may not be read without a token."
    assert diagnosis.effect is Effect.STOPS


def test_a_failed_job_without_pods_says_what_the_job_knows() -> None:
    diagnosis = diagnose(None, failed_job("PodFailurePolicy", POLICY, 1))
    assert diagnosis is not None
    assert (diagnosis.category, diagnosis.effect, diagnosis.exit_code) == (Category.JOB, Effect.STOPS, 42)
    assert POLICY in diagnosis.problem
    assert "kubectl describe job fb-tickets-live-qwen3-0a1b2c3d -n science" in diagnosis.remedy


def test_a_deadline_that_somebody_put_on_the_job_is_told_as_such() -> None:
    job = failed_job("DeadlineExceeded", "Job was active longer than specified deadline", 1)
    diagnosis = diagnose(deleted(on_node(phase="Failed", state=terminated(143))), job)
    assert diagnosis is not None
    assert diagnosis.category is Category.JOB
    assert "Job was active longer than specified deadline." in diagnosis.problem

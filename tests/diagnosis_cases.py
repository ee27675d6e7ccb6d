"""One trouble of a pod, and what is to be said of it."""

from typing import NamedTuple

from flows.diagnosis import Category, Diagnosis, Effect
from flows.pod_diagnosis import diagnose
from kubernetes_objects import KubernetesObject, make_job


class Case(NamedTuple):
    """A pod, and what is to be said of it while its Job goes on."""

    pod: KubernetesObject
    category: Category
    effect: Effect
    said: str
    """Somewhere in the problem."""
    remedy: str
    """Somewhere in the remedy."""
    events: tuple[KubernetesObject, ...] = ()


def diagnose_case(case: Case) -> Diagnosis:
    """Diagnose a case, and check the form that all diagnoses have."""
    diagnosis = diagnose(case.pod, make_job(), case.events)
    assert diagnosis is not None
    assert diagnosis.problem.endswith(".") or diagnosis.category is Category.WORKER
    assert "preemption:" not in diagnosis.problem
    assert ".." not in diagnosis.problem
    assert diagnosis.remedy.endswith(".")
    assert 0 < len(diagnosis.summary) <= 70, "it is for a table"
    assert "\n" not in diagnosis.summary
    return diagnosis

"""Adoption: what to do with a Job that has the name of the one that is to be made. Pure.

A runner that starts again finds the Jobs of the one before it, and must neither train an arm twice nor take another
experiment's Job for its own.
"""

from enum import StrEnum

from flows.cluster_settings import KubernetesObject
from flows.manifests import DOCUMENT_ANNOTATION, FLOW_RUN_ANNOTATION
from flows.pod_status import is_being_deleted, is_true


class Adoption(StrEnum):
    """What to do with a Job of the same name."""

    ADOPT = "adopt"
    """It is the one: follow it to its end, or take the good end that it has come to."""
    REPLACE = "replace"
    """It is over, and has failed or belongs to an earlier run: delete it, then make a new one."""
    WAIT = "wait"
    """It is being deleted: wait until it is gone."""
    REFUSE = "refuse"
    """It is at work on something else: leave it alone, and say so."""


def judge(found: KubernetesObject, wanted: KubernetesObject) -> Adoption:
    """Say what to do with a Job that has the name of the wanted one.

    Args:
        found: The Job that is there.
        wanted: The manifest of the Job that is to be made.
    """
    if is_being_deleted(found):
        return Adoption.WAIT
    is_same = _annotation(found, DOCUMENT_ANNOTATION) == _annotation(wanted, DOCUMENT_ANNOTATION)
    if is_true(found, "Failed"):
        return Adoption.REPLACE  # whoever asks again wants another try
    if not is_true(found, "Complete"):
        return Adoption.ADOPT if is_same else Adoption.REFUSE
    is_ours = _annotation(found, FLOW_RUN_ANNOTATION) == _annotation(wanted, FLOW_RUN_ANNOTATION)
    return Adoption.ADOPT if is_same and is_ours else Adoption.REPLACE


def _annotation(job: KubernetesObject, name: str) -> str | None:
    annotations: dict[str, str] = job["metadata"].get("annotations") or {}
    return annotations.get(name)

"""Objects for tests of the cluster itself: a shell script as a pod, as a Job, behind a service."""

from typing import Any

from cluster.images import BUSYBOX_IMAGE
from cluster.kubectl import Document

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the restricted Pod Security Standard asks of a container."""


def build_pod(name: str, script: str, *, container: Document | None = None, **spec: Any) -> Document:  # noqa: ANN401
    """Return a pod that runs a script; ``container`` adds to its container, the rest to its spec."""
    main = {
        "name": "main",
        "image": BUSYBOX_IMAGE,
        "args": [script],
        "securityContext": RESTRICTED,
        **(container or {}),
    }
    whole = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [main], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": whole}


def build_job(name: str, script: str, *, container: Document | None = None, **spec: Any) -> Document:  # noqa: ANN401
    """Return a Job of one pod, as ``build_pod`` has it."""
    template = {"spec": build_pod(name, script, container=container, **spec)["spec"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    }


def build_service(name: str, port: int) -> Document:
    """Return a service in front of the pod of the same name."""
    spec = {"selector": {"app": name}, "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def build_claim(name: str, storage_class: str | None = None) -> Document:
    """Return a claim, of the default storage class if none is named."""
    spec: Document = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def mounted(claim: str, path: str) -> Document:
    """Return what ``build_pod`` needs to mount a claim."""
    return {
        "container": {"volumeMounts": [{"name": "claim", "mountPath": path}]},
        "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}],
    }

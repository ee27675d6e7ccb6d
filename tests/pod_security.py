"""The restricted Pod Security Standard, as a function of a pod's spec.

Source: kubernetes.io, Pod Security Standards, profile Restricted, which includes Baseline.
"""

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def find_violations(spec: dict[str, Any]) -> list[str]:
    """Name every rule that a pod breaks, and where."""
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    return [
        *_pod_violations(spec),
        *(f"{each['name']}: {problem}" for each in containers for problem in _container_violations(each, spec)),
    ]


def _pod_violations(spec: dict[str, Any]) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    for volume in spec.get("volumes", []):
        if not _VOLUMES & set(volume):
            yield f"volume {volume['name']} is of a forbidden kind"
    if spec.get("securityContext", {}).get("sysctls"):
        yield "sysctls"


def _container_violations(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**spec.get("securityContext", {}), **own}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "may escalate privileges"
    if own.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "does not drop all capabilities"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "adds capabilities"
    if both.get("runAsNonRoot") is not True:
        yield "may run as root"
    if both.get("runAsUser") == 0:
        yield "runs as root"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "has no seccomp profile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "takes a port of the node"

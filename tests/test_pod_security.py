"""The rules that the chart's pods are held to find what they are there to find."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from pod_security import find_violations

Change = Callable[[dict[str, Any]], object]

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "one",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "ports": [{"containerPort": 80}],
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def test_a_pod_that_keeps_every_rule_has_no_violation() -> None:
    assert find_violations(GOOD) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (lambda spec: spec.update(hostNetwork=True), "hostNetwork"),
        (lambda spec: spec.update(hostPID=True), "hostPID"),
        (lambda spec: spec.update(hostIPC=True), "hostIPC"),
        (
            lambda spec: spec["volumes"].append({"name": "d", "hostPath": {"path": "/"}}),
            "volume d is of a forbidden kind",
        ),
        (lambda spec: spec["securityContext"].update(sysctls=[{"name": "a"}]), "sysctls"),
        (lambda spec: context(spec).update(privileged=True), "one: privileged"),
        (lambda spec: context(spec).pop("allowPrivilegeEscalation"), "one: may escalate privileges"),
        (lambda spec: context(spec).pop("capabilities"), "one: does not drop all capabilities"),
        (lambda spec: context(spec)["capabilities"].update(add=["SYS_ADMIN"]), "one: adds capabilities"),
        (lambda spec: spec["securityContext"].pop("runAsNonRoot"), "one: may run as root"),
        (lambda spec: context(spec).update(runAsUser=0), "one: runs as root"),
        (lambda spec: spec["securityContext"].pop("seccompProfile"), "one: has no seccomp profile"),
        (lambda spec: spec["containers"][0]["ports"][0].update(hostPort=80), "one: takes a port of the node"),
    ],
)
def test_each_rule_that_is_broken_is_named(change: Change, violation: str) -> None:
    spec = copy.deepcopy(GOOD)
    change(spec)

    assert find_violations(spec) == [violation]


def test_init_containers_are_held_to_the_rules_too() -> None:
    spec = {**GOOD, "initContainers": [{"name": "first"}]}

    assert "first: may escalate privileges" in find_violations(spec)


def context(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the security context of the only container."""
    found: dict[str, Any] = spec["containers"][0]["securityContext"]
    return found

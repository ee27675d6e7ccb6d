"""What ``helm install`` prints at its end."""

from typing import Any

import pytest

from chart_renderer import render

SHARED = {"accessModes": ["ReadWriteMany"]}


def test_the_next_commands_can_be_copied() -> None:
    notes = render(name="freeze-bench").notes

    for command in (
        "helm test freeze-bench --namespace team",
        "kubectl --namespace team port-forward service/freeze-bench-prefect 4200",
        "kubectl --namespace team port-forward service/freeze-bench-results 4280",
        "export PREFECT_API_URL=http://127.0.0.1:4200/api",
        "get secret freeze-bench-auth",
        "prefect deployment run compare-backbones",
        "freeze-bench submit my-plan.toml --watch",
    ):
        assert command in notes


def test_objects_that_are_named_exist() -> None:
    release = render(name="freeze-bench")

    assert {"freeze-bench-prefect", "freeze-bench-results"} <= release.names("Service")
    assert "freeze-bench-runner" in release.names("Deployment")
    assert "freeze-bench-auth" in release.names("Secret")


def test_the_images_are_named_that_the_nodes_must_have() -> None:
    notes = render({"global": {"imageRegistry": "registry.example.org"}}).notes

    assert "registry.example.org/freeze-bench-flows:0.1.0" in notes
    assert "registry.example.org/freeze-bench-worker:0.1.0" in notes


@pytest.mark.parametrize(
    ("values", "warning", "has_it"),
    [
        ({}, "gated backbones", True),
        ({"hub": {"existingSecret": "hub-token"}}, "gated backbones", False),
        ({"plan": "demo"}, "gated backbones", False),
        ({}, "each arm asks for 1 nvidia.com/gpu and trains on cuda", True),
        ({"plan": "demo"}, "nvidia.com/gpu", False),
        ({}, "results and cache can be mounted by the pods of one node only", True),
        ({"results": {"url": "s3://team/results"}}, "Volumes: cache can be mounted", True),
        ({"results": {"persistence": SHARED}, "cache": {"persistence": SHARED}}, "of one node only", False),
        ({"cache": {"persistence": {"existingClaim": "ours"}}}, "Volumes: results can be mounted", True),
        ({}, "the runner, which mounts the results, and all workers on one node", True),
        ({}, "install with ReadWriteMany (results.persistence.accessModes, cache.persistence.accessModes)", True),
        ({}, "claim never change", True),
        ({"results": {"url": "s3://team/results"}}, "the runner,", False),
        ({"results": {"url": "s3://team/results"}}, "install with ReadWriteMany (cache.persistence.accessModes)", True),
        ({}, "looks for the annotation prometheus.io/scrape scrapes arms and runner", True),
        ({"metrics": {"podMonitor": {"enabled": True}}}, "The PodMonitor bench-freeze-bench tells Prometheus", True),
        ({"metrics": {"podMonitor": {"enabled": True}}}, "prometheus.io/scrape", False),
        ({"metrics": {"annotations": False}}, "Nothing tells Prometheus to scrape", True),
        ({}, "the dashboard in the ConfigMap bench-freeze-bench-dashboard", True),
        ({"metrics": {"dashboard": {"enabled": False}}}, "dashboard", False),
        ({"networkPolicy": {"enabled": True}}, "no Prometheus reaches the metrics", True),
        ({"networkPolicy": {"enabled": True, "metricsFrom": {"team": "a"}}}, "no Prometheus reaches", False),
        ({}, "no Prometheus reaches the metrics", False),
    ],
)
def test_a_warning_stands_where_it_applies(values: dict[str, Any], warning: str, *, has_it: bool) -> None:
    assert (warning in render(values).notes) is has_it


def test_what_an_uninstall_leaves_is_named() -> None:
    release = render()

    left = release.notes.rpartition("but for the claims:")[2].split()
    assert left == ["bench-freeze-bench-results"]


def test_an_uninstall_that_leaves_nothing_says_so() -> None:
    assert "but for the claims" not in render({"results": {"persistence": {"keep": False}}}).notes


def test_a_prefect_server_that_exists_is_not_forwarded() -> None:
    notes = render({"prefect": {"apiUrl": "https://prefect.example.org/api"}}).notes

    assert "export PREFECT_API_URL=https://prefect.example.org/api" in notes
    assert "4200" not in notes


def test_no_secret_is_printed() -> None:
    release = render()

    assert release.find("Secret", "bench-freeze-bench-auth")["data"]["auth-string"] not in release.notes

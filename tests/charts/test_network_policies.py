"""Who reaches the pods of a release, where that is asked for."""

from typing import Any

import helm_python
import pytest

from chart_renderer import Object, render

ENABLED = {"networkPolicy": {"enabled": True}}


def test_by_default_there_is_none() -> None:
    assert render().find_all("NetworkPolicy") == []


def test_prefect_and_results_are_reached_from_the_release_but_not_from_workers() -> None:
    release = render(ENABLED)

    for name, port in (("prefect", 4200), ("runner", 4280)):
        (rule,) = policy(release.objects, name)["ingress"]
        assert rule["ports"] == [{"port": port}]
        (source,) = [each["podSelector"] for each in rule["from"]]
        admitted = {
            pod["metadata"]["labels"]["app.kubernetes.io/component"]
            for pod in release.find_pods()
            if selects(source, pod["metadata"]["labels"])
        }
        assert admitted == {"prefect", "runner", "test"}


def test_namespaces_that_are_named_reach_them_too() -> None:
    release = render({"networkPolicy": {"enabled": True, "allowedNamespaces": ["gateway"]}})

    for name in ("prefect", "runner"):
        sources = policy(release.objects, name)["ingress"][0]["from"]
        assert sources[1]["namespaceSelector"]["matchExpressions"] == [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["gateway"]}
        ]


def test_workers_are_reached_by_nobody() -> None:
    release = render(ENABLED)

    for name in ("worker", "prepare"):
        spec = policy(release.objects, name)
        assert spec["policyTypes"] == ["Ingress"]
        assert "ingress" not in spec


def test_monitoring_reaches_the_metrics_of_arms_and_runner_and_nothing_else() -> None:
    labels = {"kubernetes.io/metadata.name": "monitoring"}
    release = render({"networkPolicy": {"enabled": True, "metricsFrom": labels}})
    scrape = {"ports": [{"port": 9464}], "from": [{"namespaceSelector": {"matchLabels": labels}}]}

    assert policy(release.objects, "worker")["ingress"] == [scrape]
    results, metrics = policy(release.objects, "runner")["ingress"]
    assert metrics == scrape
    assert "namespaceSelector" not in str(results)
    assert "namespaceSelector" not in str(policy(release.objects, "prefect"))
    assert "ingress" not in policy(release.objects, "prepare")


def test_without_a_monitoring_that_is_named_nobody_reaches_the_metrics() -> None:
    rules = [each["spec"].get("ingress", []) for each in render(ENABLED).find_all("NetworkPolicy")]

    assert "9464" not in str(rules)


@pytest.mark.parametrize("rules", [[], [{"to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}]}]])
def test_what_arms_connect_to_can_be_closed(rules: list[Any]) -> None:
    spec = policy(render({"networkPolicy": {"enabled": True, "armEgress": rules}}).objects, "worker")

    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec.get("egress", []) == rules


def test_a_server_that_exists_gets_no_policy() -> None:
    release = render({**ENABLED, "prefect": {"apiUrl": "https://prefect.example.org/api"}})

    assert "bench-freeze-bench-prefect" not in release.names("NetworkPolicy")


def test_a_rule_that_is_no_object_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="armEgress"):
        render({"networkPolicy": {"enabled": True, "armEgress": ["all"]}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowedNamespaces", ["gateway"]),
        ("metricsFrom", {"kubernetes.io/metadata.name": "monitoring"}),
        ("armEgress", []),
    ],
)
def test_a_rule_that_nothing_would_hold_is_refused_with_the_remedy(name: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
    with pytest.raises(helm_python.HelmError, match=rf"{name} is set.*Set networkPolicy\.enabled to true"):
        render({"networkPolicy": {name: value}})


def policy(objects: tuple[Object, ...], name: str) -> Object:
    """Return the spec of a component's policy."""
    (found,) = [
        each["spec"]
        for each in objects
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == f"bench-freeze-bench-{name}"
    ]
    spec: Object = found
    return spec


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a pod selector finds a pod; of operators it knows one."""
    expressions = selector.get("matchExpressions", [])
    assert {each["operator"] for each in expressions} == {"In"}
    return selector["matchLabels"].items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in expressions
    )

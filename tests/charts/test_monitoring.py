"""How a release is scraped, and what the chart makes for Prometheus and Grafana."""

import json
from typing import Any

import helm_python
import pytest
import yaml

from chart_renderer import CHART, Object, main_container, read_env, render

SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": "9464", "prometheus.io/path": "/metrics"}
MONITOR = {"metrics": {"podMonitor": {"enabled": True}}}
RULES = {"metrics": {"rules": {"enabled": True}}}
OPERATOR = {"metrics": {"grafanaDashboard": {"enabled": True}}}
OF_THE_CLUSTER = {"ConfigMap", "Pod", "Secret", "Service", "ServiceAccount", "PersistentVolumeClaim", "Deployment"}
OF_THE_CLUSTER |= {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def scrape_annotations(pod: Object) -> dict[str, str]:
    """Return what a pod says about scraping."""
    annotations: dict[str, str] = pod["metadata"].get("annotations", {})
    return {name: value for name, value in annotations.items() if name.startswith("prometheus.io/")}


def test_a_cluster_without_any_operator_gets_nothing_that_it_does_not_know() -> None:
    assert {each["kind"] for each in render().objects} == OF_THE_CLUSTER


def test_prometheus_is_told_where_arms_and_runner_show_their_metrics() -> None:
    release = render()

    for component in ("worker", "runner"):
        pod = release.find_pod(component)
        assert scrape_annotations(pod) == SCRAPED
        assert {"name": "metrics", "containerPort": 9464} in main_container(pod)["ports"]
    assert release.settings["metrics_port"] == 9464
    environment = read_env(main_container(release.find_pod("runner")))
    assert environment["FREEZE_BENCH_METRICS_HOST"] == "0.0.0.0"  # noqa: S104 - in a pod
    assert environment["FREEZE_BENCH_METRICS_PORT"] == "9464"


def test_what_has_no_metrics_is_not_scraped() -> None:
    release = render()

    assert [scrape_annotations(release.find_pod(name)) for name in ("prepare", "prefect", "test")] == [{}, {}, {}]


def test_annotations_can_be_left_out_and_added_to() -> None:
    own = {"prometheus.io/scheme": "http", "prometheus.io/path": "/metrics?team=a", "team": "a"}
    release = render({"worker": {"podAnnotations": own}, "runner": {"podAnnotations": own}})

    assert release.find_pod("worker")["metadata"]["annotations"] == SCRAPED | own
    assert scrape_annotations(release.find_pod("runner")) == SCRAPED | {
        name: value for name, value in own.items() if name != "team"
    }
    assert "annotations" not in render({"metrics": {"annotations": False}}).find_pod("worker")["metadata"]


@pytest.mark.parametrize("has_monitor", [False, True])
def test_no_annotations_of_their_own_may_be_given_as_null(has_monitor: bool) -> None:  # noqa: FBT001 - a case
    """So that a team takes back what a values file before theirs has set."""
    none = {"podAnnotations": None}
    release = render({"worker": none, "runner": none, "metrics": {"podMonitor": {"enabled": has_monitor}}})

    expected = {} if has_monitor else SCRAPED
    assert [scrape_annotations(release.find_pod(name)) for name in ("worker", "runner")] == [expected, expected]


def test_a_pod_monitor_takes_the_place_of_the_annotations() -> None:
    release = render(MONITOR)

    assert [scrape_annotations(release.find_pod(name)) for name in ("worker", "runner")] == [{}, {}]
    monitor = release.find("PodMonitor", "bench-freeze-bench")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint == {
        "port": "metrics",
        "path": "/metrics",
        "interval": "10s",
        "scrapeTimeout": "10s",
        "filterRunning": True,
    }
    assert (monitor["spec"]["sampleLimit"], monitor["spec"]["jobLabel"]) == (200000, "app.kubernetes.io/name")


def test_a_pod_monitor_finds_arms_and_runner_of_its_release_alone() -> None:
    release = render(MONITOR)
    selector = release.find("PodMonitor", "bench-freeze-bench")["spec"]["selector"]
    (expression,) = selector["matchExpressions"]

    assert expression == {"key": "app.kubernetes.io/component", "operator": "In", "values": ["worker", "runner"]}
    assert selector["matchLabels"] == {"app.kubernetes.io/name": "freeze-bench", "app.kubernetes.io/instance": "bench"}
    for pod in release.find_pods():
        labels = pod["metadata"]["labels"]
        has_port = any(port["name"] == "metrics" for port in main_container(pod).get("ports", []))
        assert has_port is (labels[expression["key"]] in expression["values"])
        assert selector["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(("values", "kind"), [(MONITOR, "PodMonitor"), (RULES, "PrometheusRule")])
def test_a_prometheus_that_picks_by_labels_finds_what_it_should(values: dict[str, Any], kind: str) -> None:
    (section,) = values["metrics"]
    chosen = {"labels": {"release": "monitoring"}, "annotations": {"note": "ours"}, "enabled": True}
    metadata = render({"metrics": {section: chosen}}).find(kind, "bench-freeze-bench")["metadata"]

    assert metadata["labels"]["release"] == "monitoring"
    assert metadata["annotations"] == {"note": "ours"}


def test_a_pod_monitor_scrapes_as_it_is_told() -> None:
    given = {"enabled": True, "interval": "30s", "scrapeTimeout": "5s", "sampleLimit": 1000}
    spec = render({"metrics": {"podMonitor": given}}).find("PodMonitor", "bench-freeze-bench")["spec"]

    (endpoint,) = spec["podMetricsEndpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"], spec["sampleLimit"]) == ("30s", "5s", 1000)


@pytest.mark.parametrize("component", ["worker", "runner"])
def test_scraping_twice_is_refused_with_the_remedy(component: str) -> None:
    twice = {**MONITOR, component: {"podAnnotations": {"prometheus.io/scrape": "true"}}}

    with pytest.raises(helm_python.HelmError, match=rf"{component}\.podAnnotations has .*Take the annotation out"):
        render(twice)


def test_the_rules_are_the_file_as_prometheus_reads_it() -> None:
    rule = render(RULES).find("PrometheusRule", "bench-freeze-bench")

    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["spec"] == yaml.safe_load((CHART / "files/rules/freeze-bench.yaml").read_text("utf-8"))


def test_alerts_lead_to_where_the_team_reads_the_runbook() -> None:
    address = "https://git.example.org/freeze-bench/docs/operations.md"
    values = {"metrics": {"rules": {"enabled": True, "runbookUrl": address}}}
    groups = render(values).find("PrometheusRule", "bench-freeze-bench")["spec"]["groups"]

    links = [rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert links
    assert [link for link in links if not link.startswith(f"{address}#freezebench")] == []


def test_grafanas_sidecar_finds_the_dashboard_as_it_is_in_the_chart() -> None:
    dashboard = render().find("ConfigMap", "bench-freeze-bench-dashboard")

    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = dashboard["data"].values()
    assert json.loads(text) == json.loads((CHART / "files/dashboards/freeze-bench.json").read_text("utf-8"))


def test_the_dashboard_lies_where_the_sidecar_looks() -> None:
    given = {"labels": {"team": "a"}, "annotations": {"grafana_folder": "Research"}, "namespace": "monitoring"}
    metadata = render({"metrics": {"dashboard": given}}).find("ConfigMap", "bench-freeze-bench-dashboard")["metadata"]

    assert metadata["namespace"] == "monitoring"
    assert {"team": "a", "app.kubernetes.io/instance": "bench"}.items() <= metadata["labels"].items()
    assert metadata["annotations"] == {"grafana_folder": "Research"}


def test_without_the_dashboard_no_object_mentions_it() -> None:
    release = render({"metrics": {"dashboard": {"enabled": False}}})

    assert [each["metadata"]["name"] for each in release.objects if "dashboard" in str(each["metadata"])] == []


def test_grafanas_operator_takes_the_dashboard_from_the_config_map() -> None:
    values = {
        "metrics": {"dashboard": {"namespace": "monitoring"}, "grafanaDashboard": {"enabled": True, "folder": "A"}}
    }
    release = render(values)
    config_map = release.find("ConfigMap", "bench-freeze-bench-dashboard")
    dashboard = release.find("GrafanaDashboard", "bench-freeze-bench")

    assert dashboard["apiVersion"] == "grafana.integreatly.org/v1beta1"
    assert dashboard["metadata"]["namespace"] == config_map["metadata"]["namespace"]
    (key,) = config_map["data"]
    assert dashboard["spec"] == {
        "allowCrossNamespaceImport": True,
        "instanceSelector": {"matchLabels": {"dashboards": "grafana"}},
        "folder": "A",
        "configMapRef": {"name": config_map["metadata"]["name"], "key": key},
    }
    assert "folder" not in render(OPERATOR).find("GrafanaDashboard", "bench-freeze-bench")["spec"]


def test_a_dashboard_for_the_operator_that_is_nowhere_is_refused_with_the_remedy() -> None:
    values = {"metrics": {"dashboard": {"enabled": False}, "grafanaDashboard": {"enabled": True}}}

    with pytest.raises(helm_python.HelmError, match=r"Set metrics\.dashboard\.enabled to true"):
        render(values)

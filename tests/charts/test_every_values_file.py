"""What holds for every way of installing: each values file of charts/ci is rendered and looked at."""

from pathlib import Path

import kubernetes_validate
import pytest

from chart_renderer import VALUES_FILES, Release, main_container, read_env, read_values, render
from flows.cluster_settings import load_templates, read_settings
from pod_security import find_violations

VERSIONS = ("1.31", "1.34")
"""The oldest Kubernetes that the chart admits, and the one that the cluster tests run."""

OF_OPERATORS = ("PodMonitor", "PrometheusRule", "GrafanaDashboard")
"""Kinds that Kubernetes knows only where their operator is: test_monitoring.py looks at them."""


@pytest.fixture(scope="module", params=VALUES_FILES, ids=lambda path: path.stem)
def release(request: pytest.FixtureRequest) -> Release:
    return render(read_values(request.param))


def test_there_are_values_files() -> None:
    assert len(VALUES_FILES) > 10


@pytest.mark.parametrize("path", VALUES_FILES, ids=lambda path: path.stem)
def test_a_values_file_says_what_it_is_for(path: Path) -> None:
    assert path.read_text("utf-8").startswith("# ")


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_what_kubernetes_knows(release: Release, version: str) -> None:
    for each in release.objects:
        if each["kind"] not in OF_OPERATORS:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_worker_pods_are_what_kubernetes_knows(release: Release, version: str) -> None:
    for component in ("worker", "prepare"):
        template = release.find_pod(component)
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **template}, version, strict=True)


def test_every_pod_satisfies_the_restricted_standard(release: Release) -> None:
    assert [problem for pod in release.find_pods() for problem in find_violations(pod["spec"])] == []


def test_every_pod_runs_as_the_images_user_unless_the_cluster_gives_one() -> None:
    for pod in render().find_pods():
        security = pod["spec"]["securityContext"]
        assert [security[key] for key in ("runAsUser", "runAsGroup", "fsGroup")] == [65532, 65532, 65532]
    for pod in render({"securityContext": {"runAsUser": None, "fsGroup": 1000650000}}).find_pods():
        security = pod["spec"]["securityContext"]
        assert "runAsUser" not in security
        assert (security["runAsNonRoot"], security["runAsGroup"], security["fsGroup"]) == (True, 65532, 1000650000)


def test_there_are_pods_to_look_at(release: Release) -> None:
    components = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in release.find_pods()}

    assert components | {"prefect"} == {"prefect", "runner", "worker", "prepare", "test"}


def test_every_container_has_a_read_only_root_and_somewhere_to_write(release: Release) -> None:
    for pod in release.find_pods():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] != "test":
            assert {"name": "tmp", "mountPath": "/tmp"} in main_container(pod)["volumeMounts"]  # noqa: S108 - in a pod


def test_only_the_runner_gets_a_token(release: Release) -> None:
    tokens = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["spec"]["automountServiceAccountToken"]
        for pod in release.find_pods()
    }

    assert [component for component, has_token in tokens.items() if has_token] == ["runner"]


def test_every_container_says_what_it_needs(release: Release) -> None:
    for pod in release.find_pods():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def test_every_object_carries_the_labels_of_its_release(release: Release) -> None:
    for each in release.objects:
        if each["metadata"]["name"].endswith("-more"):
            continue  # an extra object is its author's
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "bench"
        assert labels["app.kubernetes.io/name"] == "freeze-bench"
        assert labels["helm.sh/chart"] == "freeze-bench-0.1.0"


def test_no_object_names_its_namespace(release: Release) -> None:
    assert [each["metadata"]["name"] for each in release.objects if "namespace" in each["metadata"]] == []


def test_no_two_objects_have_one_name(release: Release) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in release.objects]

    assert len(names) == len(set(names))


def test_every_service_and_policy_finds_pods_by_labels_that_some_pod_has(release: Release) -> None:
    labels = [pod["metadata"]["labels"] for pod in release.find_pods()]
    selectors = [each["spec"]["selector"] for each in release.find_all("Service")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in release.find_all("NetworkPolicy")]

    assert selectors
    assert [each for each in selectors if not any(each.items() <= pod.items() for pod in labels)] == []


def test_volumes_and_mounts_match(release: Release) -> None:
    for pod in release.find_pods():
        mounted = {mount["name"] for mount in main_container(pod).get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod["spec"].get("volumes", [])}


def test_no_variable_is_set_twice(release: Release) -> None:
    assert all(read_env(main_container(pod)) for pod in release.find_pods())


def test_the_runner_can_read_what_the_chart_tells_it(release: Release, tmp_path: Path) -> None:
    for name, text in release.worker_files.items():
        (tmp_path / name).write_text(text, "utf-8")

    settings, templates = read_settings(tmp_path), load_templates(tmp_path)

    assert settings.model_dump(mode="json").keys() == release.settings.keys()
    assert templates.run == release.find_pod("worker")
    assert templates.prepare == release.find_pod("prepare")

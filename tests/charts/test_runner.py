"""The runner: what it is told, how it is watched, and when it starts anew."""

from typing import Any

import helm_python
import pytest

from chart_renderer import Object, main_container, read_env, render


def test_the_runner_serves_the_deployment_with_kubernetes_jobs() -> None:
    container = main_container(render().find_pod("runner"))
    environment = read_env(container)

    assert container["command"] == ["freeze-bench", "serve"]
    assert environment["FREEZE_BENCH_EXECUTOR"] == "kubernetes"
    assert environment["FREEZE_BENCH_RESULTS"] == "/results"
    assert environment["FREEZE_BENCH_CACHE"] == "/cache"
    assert environment["FREEZE_BENCH_RESULTS_PORT"] == "4280"


def test_what_the_runner_reads_is_mounted_where_it_looks() -> None:
    pod = render().find_pod("runner")
    environment = read_env(main_container(pod))
    mounts = {mount["mountPath"]: mount["name"] for mount in main_container(pod)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}

    templates = volumes[mounts[environment["FREEZE_BENCH_WORKER_TEMPLATES"]]]
    folder, _, file = environment["FREEZE_BENCH_PLAN"].rpartition("/")
    plan = volumes[mounts[folder]]
    assert templates["configMap"]["name"] == "bench-freeze-bench-worker"
    assert plan["configMap"]["name"] == "bench-freeze-bench-plan"
    assert file in render().find("ConfigMap", "bench-freeze-bench-plan")["data"]


def test_there_is_one_runner_at_a_time_and_it_has_time_to_end() -> None:
    deployment = render().find("Deployment", "bench-freeze-bench-runner")["spec"]

    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] >= 90


@pytest.mark.parametrize("component", ["runner", "prefect"])
def test_probes_ask_the_port_that_is_served(component: str) -> None:
    container = main_container(render().find_pod(component))
    port = container["ports"][0]

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]


@pytest.mark.parametrize(
    ("values", "checksum"),
    [
        ({"plan": 'name = "tickets"'}, "checksum/plan"),
        ({"worker": {"threads": 8}}, "checksum/worker"),
        ({"jobs": {"maxRetries": 1}}, "checksum/worker"),
    ],
)
def test_a_change_that_the_runner_reads_at_its_start_starts_it_anew(values: dict[str, Any], checksum: str) -> None:
    before, after = (render(each).find_pod("runner")["metadata"]["annotations"] for each in ({}, values))

    assert [key for key in before if before[key] != after[key]] == [checksum]


def test_the_same_values_do_not_start_it_anew() -> None:
    assert render().find_pod("runner") == render().find_pod("runner")


def test_links_to_results_begin_where_people_reach_them() -> None:
    url = "https://results.example.org"
    environment = read_env(main_container(render({"results": {"publicUrl": url}}).find_pod("runner")))

    assert environment["FREEZE_BENCH_PUBLIC_URL"] == url
    assert "FREEZE_BENCH_PUBLIC_URL" not in read_env(main_container(render().find_pod("runner")))


def test_an_own_service_account_must_have_a_name() -> None:
    with pytest.raises(helm_python.HelmError, match=r"name the one to use in runner\.serviceAccount\.name"):
        render({"runner": {"serviceAccount": {"create": False}}})


def test_an_own_service_account_gets_the_role() -> None:
    release = render({"runner": {"serviceAccount": {"create": False, "name": "ours"}}})

    assert "bench-freeze-bench-runner" not in release.names("ServiceAccount")
    assert release.find_pod("runner")["spec"]["serviceAccountName"] == "ours"
    assert release.find("RoleBinding", "bench-freeze-bench-runner")["subjects"] == [
        {"kind": "ServiceAccount", "name": "ours", "namespace": "team"}
    ]


def test_the_checks_of_a_release_get_what_is_added_to_the_runner() -> None:
    volume = {"name": "certificates", "configMap": {"name": "our-authority"}}
    mount = {"name": "certificates", "mountPath": "/certificates", "readOnly": True}
    added = {
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/certificates/ca.crt"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraVolumes": [volume],
        "extraVolumeMounts": [mount],
    }
    release = render({"runner": added})

    for pod, container in checked_containers(release.find_pod("runner"), release.find_pod("test")):
        assert volume in pod["spec"]["volumes"]
        assert mount in container["volumeMounts"]
        assert read_env(container)["SSL_CERT_FILE"] == "/certificates/ca.crt"
        assert {"secretRef": {"name": "more"}} in container["envFrom"]


def test_the_checks_do_not_get_the_keys_of_the_bucket() -> None:
    release = render({"results": {"url": "s3://team/results", "existingSecret": "bucket"}})

    assert "bucket" not in str(release.find_pod("runner")["spec"]["initContainers"]) + str(release.find_pod("test"))


def checked_containers(runner: Object, test: Object) -> list[tuple[Object, Object]]:
    """Return the containers that talk to Prefect, each with its pod."""
    return [
        (runner, runner["spec"]["initContainers"][0]),
        (runner, main_container(runner)),
        (test, main_container(test)),
    ]

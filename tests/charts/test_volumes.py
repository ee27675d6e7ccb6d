"""Results and cache: claims of the chart, claims that exist, or a bucket."""

from typing import Any

import helm_python
import pytest

from chart_renderer import Object, Release, main_container, read_env, render

KEEP = {"helm.sh/resource-policy": "keep"}
BUCKET = {"url": "s3://team/results", "existingSecret": "bucket"}


def test_by_default_results_and_cache_are_claims_of_the_default_storage_class() -> None:
    release = render()

    for name, size in (("results", "10Gi"), ("cache", "200Gi"), ("prefect", "2Gi")):
        spec = release.find("PersistentVolumeClaim", f"bench-freeze-bench-{name}")["spec"]
        assert spec == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}


def test_runner_and_workers_share_the_results_and_workers_the_cache() -> None:
    release = render()

    assert mounted(release, "runner") == {"/results": "bench-freeze-bench-results"}
    for component in ("worker", "prepare"):
        assert mounted(release, component) == {
            "/results": "bench-freeze-bench-results",
            "/cache": "bench-freeze-bench-cache",
        }


def test_a_claim_is_made_as_it_is_asked_for() -> None:
    persistence = {"size": "1Ti", "storageClassName": "shared", "accessModes": ["ReadWriteMany"]}
    claim = render({"cache": {"persistence": persistence}}).find("PersistentVolumeClaim", "bench-freeze-bench-cache")

    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "shared",
        "resources": {"requests": {"storage": "1Ti"}},
    }


@pytest.mark.parametrize("name", ["results", "cache"])
def test_a_claim_that_exists_is_used_and_none_is_made(name: str) -> None:
    release = render({name: {"persistence": {"existingClaim": "ours"}}})

    assert f"bench-freeze-bench-{name}" not in release.names("PersistentVolumeClaim")
    assert mounted(release, "worker")[f"/{name}"] == "ours"


def test_only_results_outlive_the_release() -> None:
    assert kept(render()) == {"bench-freeze-bench-results"}


def test_what_outlives_the_release_can_be_chosen() -> None:
    values: dict[str, Any] = {
        "results": {"persistence": {"keep": False}},
        "cache": {"persistence": {"keep": True}},
        "prefect": {"persistence": {"keep": True}},
    }

    assert kept(render(values)) == {"bench-freeze-bench-cache", "bench-freeze-bench-prefect"}


def test_results_in_a_bucket_need_no_claim() -> None:
    release = render({"results": BUCKET})

    assert "bench-freeze-bench-results" not in release.names("PersistentVolumeClaim")
    assert mounted(release, "runner") == {}
    assert mounted(release, "worker") == {"/cache": "bench-freeze-bench-cache"}
    assert release.settings["visible_paths"] == ["/cache"]
    assert read_env(main_container(release.find_pod("runner")))["FREEZE_BENCH_RESULTS"] == "s3://team/results"


def test_whoever_reads_or_writes_the_bucket_gets_its_keys() -> None:
    release = render({"results": BUCKET})

    having = {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in release.find_pods() if has_keys(pod)}
    assert having == {"runner", "worker", "prepare"}


def test_a_bucket_may_do_with_the_pods_own_identity() -> None:
    release = render({"results": {"url": "s3://team/results"}})

    assert not any("envFrom" in main_container(pod) for pod in release.find_pods())


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"existingSecret": "bucket"}, "Set results.url"),
        ({"url": "s3://team/results", "persistence": {"existingClaim": "ours"}}, "Set one of them"),
        ({"persistence": {"accessModes": ["ReadWriteOncePod"]}}, "several share this volume"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_the_remedy(results: dict[str, Any], message: str) -> None:
    with pytest.raises(helm_python.HelmError, match=message):
        render({"results": results})


def test_a_claim_that_several_pods_share_is_not_for_one_pod_alone() -> None:
    alone = {"persistence": {"accessModes": ["ReadWriteOncePod"]}}

    with pytest.raises(helm_python.HelmError, match=r"cache\.persistence\.accessModes"):
        render({"cache": alone})
    claim = render({"prefect": alone}).find("PersistentVolumeClaim", "bench-freeze-bench-prefect")
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


def mounted(release: Release, component: str) -> dict[str, str]:
    """Return the claims that a pod mounts, by path."""
    pod = release.find_pod(component)
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    mounts = main_container(pod)["volumeMounts"]
    return {mount["mountPath"]: claims[mount["name"]] for mount in mounts if mount["name"] in claims}


def kept(release: Release) -> set[str]:
    """Return the claims that helm leaves behind."""
    claims = release.find_all("PersistentVolumeClaim")
    return {each["metadata"]["name"] for each in claims if each["metadata"].get("annotations") == KEEP}


def has_keys(pod: Object) -> bool:
    """Whether a pod gets the keys of the bucket."""
    return {"secretRef": {"name": "bucket"}} in main_container(pod).get("envFrom", [])

"""Names: told apart, of a length that Kubernetes takes, and the user's where that is asked for."""

from typing import Any

import helm_python
import kubernetes_validate
import pytest

from chart_renderer import Release, main_container, read_env, render, secret_key

LIMIT = 63


def test_two_releases_of_one_namespace_share_no_object_and_no_pod() -> None:
    one, other = render(name="one"), render(name="other")

    assert identities(one).isdisjoint(identities(other))
    labels = [pod["metadata"]["labels"] for pod in other.find_pods()]
    for each in one.find_all("Service"):
        assert not any(each["spec"]["selector"].items() <= pod.items() for pod in labels)
    for each in one.find_all("Deployment"):
        assert not any(each["spec"]["selector"]["matchLabels"].items() <= pod.items() for pod in labels)


@pytest.mark.parametrize(
    ("name", "begin"),
    [("freeze-bench", "freeze-bench-"), ("my-freeze-bench", "my-freeze-bench-"), ("a", "a-freeze-bench-")],
)
def test_a_name_says_the_product_once(name: str, begin: str) -> None:
    release = render(name=name)

    own = [each["metadata"]["name"] for each in release.objects if not each["kind"].startswith("ClusterRole")]
    assert own
    assert all(each.startswith(begin) for each in own)


def test_names_can_be_chosen() -> None:
    assert "bench2-runner" in render({"fullnameOverride": "bench2"}).names("Deployment")


def test_the_longest_names_that_are_admitted_fit() -> None:
    release = render({"fullnameOverride": "x" * 55})

    assert max(len(each["metadata"]["name"]) for each in release.objects if each["kind"] != "ClusterRole") <= 63 + LIMIT
    assert max(map(len, release.names("Service") | release.names("Deployment"))) <= LIMIT


def test_a_name_that_is_too_long_is_refused_with_the_remedy() -> None:
    with pytest.raises(helm_python.HelmError, match="Set fullnameOverride"):
        render(name="a-release-with-a-name-that-is-longer-than-most-are-x")


def test_labels_for_all_reach_objects_and_pods() -> None:
    release = render({"commonLabels": {"team": "research"}})

    assert all(each["metadata"]["labels"]["team"] == "research" for each in release.objects)
    assert all(pod["metadata"]["labels"]["team"] == "research" for pod in release.find_pods())


def test_a_name_that_begins_with_a_digit_is_refused_with_the_remedy() -> None:
    with pytest.raises(helm_python.HelmError, match="Set fullnameOverride, for example to b123-freeze-bench"):
        render(name="123")


@pytest.mark.parametrize("word", ["123", "1e3", "on", "null"])
def test_a_name_that_yaml_takes_for_something_else_is_a_name(word: str) -> None:
    claim: dict[str, Any] = {"persistence": {"storageClassName": word}}
    account = {"name": word}
    release = render(
        {
            "fullnameOverride": "bench",
            "commonLabels": {"team": word},
            "auth": {"existingSecret": word},
            "prefect": {**claim, "database": {"existingSecret": word, "existingSecretKey": word}},
            "results": {"persistence": {"existingClaim": word}},
            "cache": claim,
            "hub": {"existingSecret": word, "existingSecretKey": word},
            "runner": {"serviceAccount": account},
            "worker": {"serviceAccount": account, "priorityClassName": word, "runtimeClassName": word},
            "kueue": {"queueName": word},
            "networkPolicy": {"enabled": True},
        },
        name=word,
        namespace=word,
    )

    for each in release.objects:
        kubernetes_validate.validate(each, "1.34", strict=True)
    for component in ("worker", "prepare"):
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **release.find_pod(component)}, "1.34")
    assert all(each["metadata"]["labels"]["app.kubernetes.io/instance"] == word for each in release.objects)
    assert read_env(main_container(release.find_pod("prepare")))["HF_TOKEN"] == secret_key(word, word)
    assert [release.settings[key] for key in ("release", "namespace", "queue_name")] == [word, word, word]


def test_a_bucket_secret_that_yaml_takes_for_something_else_is_a_name() -> None:
    release = render({"results": {"url": "s3://team/results", "existingSecret": "123"}})

    assert main_container(release.find_pod("worker"))["envFrom"] == [{"secretRef": {"name": "123"}}]


def identities(release: Release) -> set[tuple[str, str]]:
    """Return kind and name of every object."""
    return {(each["kind"], each["metadata"]["name"]) for each in release.objects}

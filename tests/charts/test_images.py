"""Images: by tag, by digest, from which registry, with which credentials."""

import tomllib
from pathlib import Path
from typing import Any

import helm_python
import pytest

from chart_renderer import CHART, main_container, read_values, render

ROOT = Path(__file__).parents[2]
DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "freeze-bench-worker:0.1.0"),
        ({"images": {"worker": {"tag": "main"}}}, "freeze-bench-worker:main"),
        ({"images": {"worker": {"digest": DIGEST}}}, f"freeze-bench-worker:0.1.0@{DIGEST}"),
        ({"images": {"worker": {"registry": "one.example.org"}}}, "one.example.org/freeze-bench-worker:0.1.0"),
        (
            {"global": {"imageRegistry": "all.example.org/"}, "images": {"worker": {"registry": "one.example.org"}}},
            "all.example.org/freeze-bench-worker:0.1.0",
        ),
    ],
)
def test_an_image_is_named_as_the_values_say(values: dict[str, Any], image: str) -> None:
    for component in ("worker", "prepare"):
        assert main_container(render(values).find_pod(component))["image"] == image


def test_server_runner_and_test_run_one_image() -> None:
    release = render({"images": {"flows": {"repository": "flows", "tag": "x", "pullPolicy": "Never"}}})

    for component in ("prefect", "runner", "test"):
        pod = release.find_pod(component)
        for container in [*pod["spec"].get("initContainers", []), main_container(pod)]:
            assert (container["image"], container["imagePullPolicy"]) == ("flows:x", "Never")


def test_credentials_of_the_registry_reach_every_pod() -> None:
    secrets = [{"name": "login"}]
    release = render({"imagePullSecrets": secrets})

    assert [pod["spec"]["imagePullSecrets"] for pod in release.find_pods()] == [secrets] * 5
    assert not any("imagePullSecrets" in pod["spec"] for pod in render().find_pods())


def test_a_digest_that_is_none_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match="digest"):
        render({"images": {"flows": {"digest": "latest"}}})


def test_the_chart_has_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    chart = read_values(CHART / "Chart.yaml")

    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_there_is_one_chart_and_it_is_where_it_is_said_to_be() -> None:
    assert [path.parent for path in ROOT.glob("*/Chart.yaml")] == [CHART]
    assert not (ROOT / "Chart.yaml").exists()
    assert not (CHART / "charts").exists()

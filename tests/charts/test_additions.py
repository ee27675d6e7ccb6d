"""What values add to pods: refused where it would take what is the chart's."""

import helm_python
import pytest

from chart_renderer import main_container, read_env, render

HIDING = (
    *("/", "/etc", "/opt", "/usr", "/dev"),
    *("/app", "/app/more", "/usr/lib/more", "/proc", "/sys/fs", "/cache/more", "/etc/freeze-bench"),
    *("/cache/", "//results", "/data/../app"),
)
"""What lies above a path of the chart or the image, at it or below it; and the same in other words."""


def mount(path: str) -> dict[str, object]:
    """Return values' worth of a volume at a path."""
    return {
        "extraVolumes": [{"name": "data", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "data", "mountPath": path}],
    }


@pytest.mark.parametrize("component", ["runner", "worker"])
@pytest.mark.parametrize("path", HIDING)
def test_a_mount_that_hides_a_path_of_the_pod_is_refused(component: str, path: str) -> None:
    with pytest.raises(helm_python.HelmError, match=rf"{component}\.extraVolumeMounts: .* Take a path of its own"):
        render({component: mount(path)})


@pytest.mark.parametrize("component", ["runner", "worker"])
def test_whatever_the_chart_mounts_is_refused(component: str) -> None:
    for path in [each["mountPath"] for each in main_container(render().find_pod(component))["volumeMounts"]]:
        with pytest.raises(helm_python.HelmError, match="Take a path of its own"):
            render({component: mount(path)})


@pytest.mark.parametrize("component", ["runner", "worker"])
@pytest.mark.parametrize(
    "path", ["/data", "/etc/ssl/certs/ours.crt", "/opt/data", "/usr/local/nvidia", "/results-of-others"]
)
def test_a_path_of_its_own_is_taken(component: str, path: str) -> None:
    container = main_container(render({component: mount(path)}).find_pod(component))

    assert {"name": "data", "mountPath": path} in container["volumeMounts"]


@pytest.mark.parametrize(
    ("section", "component"),
    [("prefect", "prefect"), ("runner", "runner"), ("runner", "test"), ("worker", "worker"), ("worker", "prepare")],
)
def test_no_variable_of_the_chart_can_be_set_again(section: str, component: str) -> None:
    hub = {"hub": {"endpoint": "https://hub.example.org"}}
    names = read_env(main_container(render(hub).find_pod(component)))

    assert len(names) > 2
    for name in names:
        with pytest.raises(helm_python.HelmError, match=rf"{section}\.extraEnv: the chart sets {name} itself"):
            render({**hub, section: {"extraEnv": [{"name": name, "value": "other"}]}})


def test_a_hub_token_for_arms_is_refused_with_the_remedy() -> None:
    with pytest.raises(helm_python.HelmError, match=r"set hub\.existingSecret"):
        render({"worker": {"extraEnv": [{"name": "HF_TOKEN", "value": "hf_example"}]}})


@pytest.mark.parametrize("section", ["prefect", "runner", "worker"])
def test_a_variable_of_its_own_is_set(section: str) -> None:
    release = render({section: {"extraEnv": [{"name": "TZ", "value": "UTC"}]}})

    assert read_env(main_container(release.find_pod(section)))["TZ"] == "UTC"

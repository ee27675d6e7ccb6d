"""What the chart tells the runner: read whole, or refused with the file, the key and the value."""

from pathlib import Path

import pytest

from flows.cluster_settings import KubernetesSettings, load_templates, read_settings
from worker.contract.errors import ConfigError
from worker_templates import RUN_POD, SETTINGS, write_worker_templates


def test_settings_are_read_as_the_chart_wrote_them(tmp_path: Path) -> None:
    settings = read_settings(write_worker_templates(tmp_path))
    assert settings == KubernetesSettings(
        namespace="science",
        release="bench",
        template_config_map="bench-freeze-bench-worker",
        num_threads=2,
        visible_paths=("/results", "/cache"),
        gpu_memory="80Gi",
        has_hub_token=True,
        check_nodes=True,
    )


def test_templates_are_loaded_each_from_its_file(tmp_path: Path) -> None:
    templates = load_templates(write_worker_templates(tmp_path))
    components = [
        each["metadata"]["labels"]["app.kubernetes.io/component"] for each in (templates.prepare, templates.run)
    ]
    assert components == ["prepare", "worker"]


@pytest.mark.parametrize(
    ("line", "instead", "named"),
    [
        ("max_retries: 3", "max_retries: -1", r"max_retries: .*greater than or equal to 0.*-1"),
        ("keep_seconds: 86400", "keep_seconds: 5", "keep_seconds: .*5"),
        ("metrics_port: 9464", "metrics_port: 80", "metrics_port: .*80"),
        ("release: bench", "release: Bench", "release: .*'Bench'"),
        ("num_threads: 2", "", "num_threads: Field required"),
        ("num_threads: 2", "num_threds: 2", "num_threds: Extra inputs are not permitted"),
        ("gpu_memory: 80Gi", "gpu_memory: 80 GB", "gpu_memory: .*'80 GB'"),
        ("visible_paths: [/results, /cache]", "visible_paths: [results]", r"visible_paths\.0: .*'results'"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_its_value(tmp_path: Path, line: str, instead: str, named: str) -> None:
    assert line in SETTINGS
    folder = write_worker_templates(tmp_path, settings=SETTINGS.replace(line, instead))
    with pytest.raises(ConfigError, match=rf"settings\.yaml is not valid: .*{named}"):
        read_settings(folder)


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    settings = SETTINGS.replace("num_threads: 2", "num_threads: 0").replace("gpus_per_arm: 1", "gpus_per_arm: -1")
    with pytest.raises(ConfigError, match=r"num_threads.*gpus_per_arm"):
        read_settings(write_worker_templates(tmp_path, settings=settings))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("- a", "holds list instead of keys and values"),
        ("", "holds NoneType instead of keys and values"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    folder = write_worker_templates(tmp_path, settings=text, run_pod=text)
    with pytest.raises(ConfigError, match=rf"settings\.yaml {said}"):
        read_settings(folder)
    with pytest.raises(ConfigError, match=rf"run-pod\.yaml {said}"):
        load_templates(folder)


@pytest.mark.parametrize("name", ["settings.yaml", "prepare-pod.yaml", "run-pod.yaml"])
def test_a_missing_file_is_named_with_the_variable_that_leads_there(tmp_path: Path, name: str) -> None:
    folder = write_worker_templates(tmp_path)
    (folder / name).unlink()
    read = read_settings if name == "settings.yaml" else load_templates
    with pytest.raises(ConfigError, match=rf"{name} cannot be read: No such file.*FREEZE_BENCH_WORKER_TEMPLATES"):
        read(folder)


def test_a_template_without_a_worker_is_refused_with_the_containers_that_it_has(tmp_path: Path) -> None:
    folder = write_worker_templates(tmp_path, run_pod=RUN_POD.replace("- name: worker", "- name: trainer"))
    with pytest.raises(ConfigError, match=r"run-pod\.yaml: .*\['trainer'\].*'worker'"):
        load_templates(folder)


@pytest.mark.parametrize(
    "text", ["metadata: {}", "spec: {}", "spec: {containers: worker}", "spec: {containers: [worker]}"]
)
def test_a_template_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"run-pod\.yaml: A worker's pod template has"):
        load_templates(write_worker_templates(tmp_path, run_pod=text))

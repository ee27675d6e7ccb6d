"""The Jobs that the runner makes of the chart's templates."""

import kubernetes_validate
import pytest

from chart_renderer import VALUES_FILES, Object, read_values, render
from flows.cluster_settings import load_templates, read_settings
from flows.manifests import build_job
from pod_security import find_violations
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import Execution, PreparedBackbone, PreparedData, RunConfig, SplitSizes
from worker.contract.plan import TrainingSettings

ARM = Arm(label="Frozen Qwen3", backbone=BackboneSpec(source="tiny:qwen3"), mode=Mode.FROZEN)
CONFIG = RunConfig(
    comparison="demo",
    arm=ARM,
    seeds=(0,),
    data=PreparedData(
        source="builtin:language-names",
        revision=None,
        digest="d" * 64,
        classes=("Danish", "Finnish"),
        num_examples=SplitSizes(train=2, validation=2, test=2),
        num_train_available=2,
        num_duplicates_dropped=0,
        num_conflicts_dropped=0,
        majority_accuracy=0.5,
    ),
    backbone=PreparedBackbone(kind="tiny", source="tiny:qwen3", revision="a" * 64, model_type="qwen3"),
    training=TrainingSettings(backbone_lr=()),
    execution=Execution(results="/results", cache="/cache"),
)


@pytest.fixture(scope="module", params=VALUES_FILES, ids=lambda path: path.stem)
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Object:
    """The Job of an arm, as a release with these values makes it."""
    folder = tmp_path_factory.mktemp("worker")
    for name, text in render(read_values(request.param)).worker_files.items():
        (folder / name).write_text(text, "utf-8")
    settings = read_settings(folder)
    owner = {"metadata": {"name": settings.template_config_map, "uid": "0190b2a4-7d0e-7c3a-9a55-0f2a6f8f4c11"}}
    return build_job(CONFIG, settings, load_templates(folder).run, owner, "0190b2a4-7d0e-7c3a-9a55-0f2a6f8f4c12")


@pytest.mark.parametrize("version", ["1.31", "1.34"])
def test_they_are_what_kubernetes_knows(job: Object, version: str) -> None:
    kubernetes_validate.validate(job, version, strict=True)


def test_they_satisfy_the_restricted_standard(job: Object) -> None:
    assert find_violations(job["spec"]["template"]["spec"]) == []


def test_policies_and_monitoring_find_their_pods_by_the_charts_labels(job: Object) -> None:
    labels = job["spec"]["template"]["metadata"]["labels"]

    assert labels["app.kubernetes.io/name"] == "freeze-bench"
    assert labels["app.kubernetes.io/instance"] == "bench"
    assert labels["app.kubernetes.io/component"] == "worker"
    assert labels["app.kubernetes.io/managed-by"] == "freeze-bench"


def test_nothing_that_the_runner_adds_takes_a_path_of_the_chart(job: Object) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    paths = [mount["mountPath"] for mount in container["volumeMounts"]]

    assert len(paths) == len(set(paths))

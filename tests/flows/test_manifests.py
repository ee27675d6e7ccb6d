"""The Job of a worker: whole manifests against golden files, then one test per rule.

``FREEZE_BENCH_WRITE_GOLDEN=1`` writes the golden files anew; what changed is then in the diff.
"""

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.cluster_settings import KubernetesSettings
from flows.manifests import (
    MAX_ANNOTATION_BYTES,
    build_job,
    comparison_selector,
    document_hash,
    job_name,
    release_selector,
)
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData, RunConfig, arm_training
from worker.contract.errors import ConfigError, ExitCode
from worker.contract.estimate import EstimateRequest
from worker.contract.plan import DataSpec, TrainingSettings
from worker.contract.records import slug
from worker_templates import OWNER, PREPARE_POD, RUN_POD

GOLDEN = Path(__file__).parent / "golden"
FLOW_RUN = "0190b2a4-7d0e-7c3a-9a55-0f2a6f8f4c11"
KUBERNETES_VERSIONS = ("1.31", "1.34")

EXECUTION = Execution(
    results="/results", cache="/cache", device="cuda", num_threads=2, metrics_host="::", metrics_port=9464
)
SETTINGS = KubernetesSettings(
    namespace="science",
    release="bench",
    template_config_map="bench-freeze-bench-worker",
    num_threads=2,
    visible_paths=("/results", "/cache"),
    has_hub_token=True,
    check_nodes=True,
)

Manifest = dict[str, Any]
Builder = Callable[..., Manifest]


@pytest.fixture
def run_config(data: PreparedData) -> RunConfig:
    arm = Arm(label="Live Qwen3", backbone=BackboneSpec(source="Qwen/Qwen3-1.7B-Base"), mode=Mode.LIVE)
    return RunConfig(
        comparison="tickets",
        arm=arm,
        seeds=(0, 1),
        data=data,
        backbone=PreparedBackbone(kind="hub", source=arm.backbone.source, revision="c" * 40, model_type="qwen3"),
        training=arm_training(TrainingSettings(steps=110), arm.mode),
        execution=EXECUTION,
    )


@pytest.fixture
def prepare_config() -> PrepareConfig:
    return PrepareConfig(
        comparison="tickets",
        name="prepare-data",
        answer="tickets/prepared/data-answer.json",
        data=DataSpec(source="fancyzhx/ag_news"),
        execution=EXECUTION,
    )


def build(config: RunConfig | PrepareConfig, *, template: str | Manifest | None = None, **settings: object) -> Manifest:
    """Build the Job of a document, with the chart's template for it and settings that differ from the usual ones."""
    text = template or (RUN_POD if isinstance(config, RunConfig) else PREPARE_POD)
    pod = yaml.safe_load(text) if isinstance(text, str) else text
    return build_job(config, SETTINGS.model_copy(update=settings), pod, OWNER, FLOW_RUN)


def pod_spec(job: Manifest) -> Manifest:
    spec: Manifest = job["spec"]["template"]["spec"]
    return spec


def worker_container(job: Manifest) -> Manifest:
    return next(each for each in pod_spec(job)["containers"] if each["name"] == "worker")


@pytest.fixture
def manifests(run_config: RunConfig, prepare_config: PrepareConfig) -> dict[str, Manifest]:
    """By the name of their golden file."""
    two_gpus = RUN_POD.replace("nvidia.com/gpu: 1", "nvidia.com/gpu: 2")
    return {
        "arm": build(run_config),
        "prepare": build(prepare_config),
        "arm-in-queue": build(run_config, template=two_gpus, queue_name="gpu-queue", max_retries=6),
    }


@pytest.mark.parametrize("name", ["arm", "prepare", "arm-in-queue"])
def test_a_manifest_is_what_its_golden_file_says(manifests: dict[str, Manifest], name: str) -> None:
    path = GOLDEN / f"{name}.json"
    if os.environ.get("FREEZE_BENCH_WRITE_GOLDEN"):
        path.write_text(json.dumps(manifests[name], indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert manifests[name] == json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("name", ["arm", "prepare", "arm-in-queue"])
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_kubernetes_knows_every_field(manifests: dict[str, Manifest], name: str, version: str) -> None:
    kubernetes_validate.validate(manifests[name], version, strict=True)


def test_the_worker_reads_from_its_file_what_it_is_told(run_config: RunConfig) -> None:
    job = build(run_config)

    annotations = job["spec"]["template"]["metadata"]["annotations"]
    volume = pod_spec(job)["volumes"][-1]
    (item,) = volume["downwardAPI"]["items"]
    (mount,) = [each for each in worker_container(job)["volumeMounts"] if each["name"] == volume["name"]]
    assert RunConfig.model_validate_json(annotations["freeze-bench/config"]) == run_config
    assert item["fieldRef"]["fieldPath"] == "metadata.annotations['freeze-bench/config']"
    assert worker_container(job)["args"] == [f"{mount['mountPath']}/{item['path']}"]


def test_what_the_chart_put_into_the_pod_stays(run_config: RunConfig) -> None:
    template = yaml.safe_load(RUN_POD)
    before = copy.deepcopy(template)

    pod = build(run_config, template=template)["spec"]["template"]

    assert template == before
    assert pod["metadata"]["labels"].items() >= template["metadata"]["labels"].items()
    assert pod["metadata"]["annotations"].items() >= template["metadata"]["annotations"].items()
    assert [each for each in pod["spec"]["volumes"] if each in template["spec"]["volumes"]] == before["spec"]["volumes"]
    (container,) = template["spec"]["containers"]
    assert pod["spec"]["containers"][0]["resources"] == container["resources"]
    assert pod["spec"]["containers"][0]["volumeMounts"][:-1] == container["volumeMounts"]


def test_a_template_with_nothing_but_a_container_does(run_config: RunConfig) -> None:
    template = "metadata:\nspec: {volumes: null, containers: [{name: side, image: a}, {name: worker, image: b}]}"
    job = build(run_config, template=template)
    assert worker_container(job)["args"] == ["/etc/freeze-bench/config.json"]
    assert job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == "freeze-bench"
    assert "args" not in pod_spec(job)["containers"][0]


def test_a_template_without_a_worker_is_refused(run_config: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"\['trainer'\]; exactly one must be named 'worker'"):
        build(run_config, template="spec: {containers: [{name: trainer}]}")


def test_the_chart_may_give_the_product_another_name_but_not_another_owner(run_config: RunConfig) -> None:
    template = (
        "metadata: {labels: {app.kubernetes.io/name: probe, app.kubernetes.io/instance: other, freeze-bench/arm: x}}\n"
        "spec: {containers: [{name: worker}]}"
    )
    for labels in (
        build(run_config, template=template)["metadata"]["labels"],
        build(run_config, template=template)["spec"]["template"]["metadata"]["labels"],
    ):
        assert labels["app.kubernetes.io/name"] == "probe"
        assert labels["app.kubernetes.io/instance"] == "bench"
        assert labels["freeze-bench/arm"] == "live-qwen3"


def test_job_and_pod_say_whose_worker_they_are(run_config: RunConfig) -> None:
    job = build(run_config)
    expected = {
        "app.kubernetes.io/name": "freeze-bench",
        "app.kubernetes.io/instance": "bench",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/part-of": "freeze-bench",
        "app.kubernetes.io/managed-by": "freeze-bench",
        "freeze-bench/comparison": "tickets",
        "freeze-bench/arm": "live-qwen3",
        "freeze-bench/mode": "live",
    }
    assert job["metadata"]["labels"].items() >= expected.items()
    assert job["spec"]["template"]["metadata"]["labels"].items() >= expected.items()


def test_a_prepare_worker_has_no_mode(prepare_config: PrepareConfig) -> None:
    labels = build(prepare_config)["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "prepare"
    assert labels["freeze-bench/arm"] == "prepare-data"
    assert "freeze-bench/mode" not in labels


@pytest.mark.parametrize("selector", [comparison_selector(SETTINGS, "tickets"), release_selector(SETTINGS)])
def test_selectors_find_jobs_and_pods(run_config: RunConfig, prepare_config: PrepareConfig, selector: str) -> None:
    for job in (build(run_config), build(prepare_config)):
        for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
            assert is_selected(selector, labels)
            assert not is_selected(selector, labels | {"app.kubernetes.io/instance": "other"})


def test_the_selector_of_a_comparison_leaves_others_alone(run_config: RunConfig) -> None:
    labels = build(run_config)["metadata"]["labels"]
    assert not is_selected(comparison_selector(SETTINGS, "tickets-2"), labels)
    assert is_selected(release_selector(SETTINGS), labels | {"freeze-bench/comparison": "tickets-2"})


def is_selected(selector: str, labels: dict[str, str]) -> bool:
    """Apply a selector as the API server does: ``key=value`` or ``key``, all of them."""
    terms = [term.partition("=") for term in selector.split(",")]
    return all(labels.get(key) == value if equals else key in labels for key, equals, value in terms)


def test_the_queue_is_named_only_where_there_is_one(run_config: RunConfig) -> None:
    label = "kueue.x-k8s.io/queue-name"
    assert build(run_config, queue_name="gpu-queue")["metadata"]["labels"][label] == "gpu-queue"
    assert label not in build(run_config)["metadata"]["labels"]


def test_exit_codes_that_stop_the_job_are_the_permanent_ones(run_config: RunConfig) -> None:
    rules = build(run_config)["spec"]["podFailurePolicy"]["rules"]
    (codes,) = [rule["onExitCodes"] for rule in rules if rule["action"] == "FailJob"]
    assert codes == {
        "containerName": "worker",
        "operator": "In",
        "values": [code for code in ExitCode if code.is_permanent],
    }


def test_a_disruption_is_not_counted_whatever_the_worker_ended_with(run_config: RunConfig) -> None:
    first, *_ = build(run_config)["spec"]["podFailurePolicy"]["rules"]
    assert first == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def test_no_pod_starts_beside_one_that_still_ends(run_config: RunConfig) -> None:
    job = build(run_config)
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    assert pod_spec(job)["restartPolicy"] == "Never"


def test_the_deadline_counts_from_the_pods_start(run_config: RunConfig, prepare_config: PrepareConfig) -> None:
    for config, seconds in ((run_config, 500), (prepare_config, 70)):
        job = build(config, run_deadline_seconds=500, prepare_deadline_seconds=70)
        assert pod_spec(job)["activeDeadlineSeconds"] == seconds
        assert "activeDeadlineSeconds" not in job["spec"]


def test_an_uninstall_takes_the_job_along_without_being_held_up_by_it(run_config: RunConfig) -> None:
    (owner,) = build(run_config)["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "ConfigMap", **OWNER["metadata"]}


def test_retries_and_the_time_to_keep_a_job_are_the_settings(run_config: RunConfig) -> None:
    spec = build(run_config, max_retries=1, keep_seconds=3600)["spec"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (1, 3600)


def test_a_job_is_marked_with_its_document_and_with_who_asked_for_it(run_config: RunConfig) -> None:
    job = build(run_config)
    assert job["metadata"]["annotations"] == {
        "freeze-bench/document-sha256": document_hash(run_config),
        "freeze-bench/flow-run": FLOW_RUN,
    }
    assert job["metadata"]["namespace"] == "science"


def test_a_document_too_large_for_a_pod_is_refused_with_its_size(run_config: RunConfig) -> None:
    def with_classes(length: int) -> RunConfig:
        data = run_config.data.model_copy(update={"classes": ("x" * length, "y")})
        return run_config.model_copy(update={"data": data})

    def size_of(job: Manifest) -> int:
        annotations = job["spec"]["template"]["metadata"]["annotations"]
        return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())

    room = MAX_ANNOTATION_BYTES - size_of(build(with_classes(1)))
    assert size_of(build(with_classes(1 + room))) == MAX_ANNOTATION_BYTES < 256 * 1024
    with pytest.raises(ConfigError, match=rf"live-qwen3 does not fit a pod: .* {MAX_ANNOTATION_BYTES + 1} bytes"):
        build(with_classes(2 + room))


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ({"num_threads": 7}, True),
        ({"metrics_port": 9999}, True),
        ({"metrics_host": "127.0.0.1"}, True),
        ({"checkpoint_seconds": 5.0}, True),
        ({"flush_seconds": 5.0}, True),
        ({"results": "/elsewhere"}, False),
        ({"cache": "/elsewhere"}, False),
        ({"device": "cpu"}, False),
        ({"fresh_since": 1.0}, False),
        ({"tokens_per_batch": 512}, False),
        ({"use_feature_cache": False}, False),
    ],
)
def test_a_document_is_the_same_if_it_makes_the_same_in_the_same_place(
    run_config: RunConfig, prepare_config: PrepareConfig, changed: dict[str, object], *, is_same: bool
) -> None:
    for config in (run_config, prepare_config):
        other = config.model_copy(update={"execution": EXECUTION.model_copy(update=changed)})
        assert (document_hash(other) == document_hash(config)) is is_same


def test_a_backbone_is_the_same_whatever_is_to_be_estimated_along_with_it(
    run_config: RunConfig, prepare_config: PrepareConfig
) -> None:
    about = {"backbone": run_config.arm.backbone, "prepared_data": run_config.data}
    request = EstimateRequest(modes=(Mode.LIVE,), seeds=(0, 1), training=run_config.training)
    config = prepare_config.model_copy(update=about)

    assert document_hash(config.model_copy(update={"estimate": request})) == document_hash(config)


def test_another_experiment_is_another_document(run_config: RunConfig, prepare_config: PrepareConfig) -> None:
    seeds = run_config.model_copy(update={"seeds": (0, 1, 2)})
    answer = prepare_config.model_copy(update={"answer": "elsewhere.json"})
    assert len({document_hash(each) for each in (run_config, seeds, prepare_config, answer)}) == 4


def test_results_of_another_recipe_are_another_document(run_config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    before = document_hash(run_config)
    monkeypatch.setattr("flows.manifests.RECIPE_VERSION", 999)
    assert document_hash(run_config) != before


def test_a_chart_upgrade_changes_no_document(run_config: RunConfig) -> None:
    newer = RUN_POD.replace(":0.1.0", ":0.2.0").replace("memory: 2Gi", "memory: 8Gi")
    before, after = (build(run_config, template=template)["metadata"] for template in (RUN_POD, newer))
    assert before["annotations"] == after["annotations"]
    assert before["name"] == after["name"]


slugs = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", max_size=60).map(slug).filter(bool)
identities = st.tuples(slugs, slugs, slugs)


@given(identities, identities)
def test_names_of_jobs_are_valid_and_each_worker_has_its_own(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    name = job_name(*one)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 63
    assert job_name(*one) == name
    assert (job_name(*other) == name) is (one == other)


def test_the_longest_names_use_all_that_kubernetes_allows() -> None:
    assert len(job_name("r" * 53, "c" * 40, "a" * 40)) == 63


def test_names_say_which_comparison_and_arm(run_config: RunConfig) -> None:
    name = build(run_config)["metadata"]["name"]
    assert re.fullmatch(r"fb-tickets-live-qwen3-[0-9a-f]{8}", name)
    assert job_name("bench", "a" * 19 + "-b", "c" * 29 + "-d").startswith(f"fb-{'a' * 19}-{'c' * 29}-")

"""What a cluster refuses before a Job exists. The hub is the stand-in that the workers' tests use, over real HTTP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cluster_settings import KubernetesSettings
from flows.preflight import GPU_MEMORY_LABEL, ClusterFacts, check_cluster_plan, find_gpu_memory
from hub_server import HubServer
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.errors import ConfigError
from worker.contract.plan import DataSpec, Plan, TrainingSettings

BUILT_IN = "builtin:language-names"
NOWHERE = "http://127.0.0.1:9"
"""Nothing listens on the discard port."""

COMMIT = "c" * 40

Check = Callable[..., list[str]]


def make_plan(*backbones: str, data: DataSpec | None = None, revision: str | None = None) -> Plan:
    arms = tuple(
        Arm(label=f"Arm {number}", backbone=BackboneSpec(source=source, revision=revision), mode=Mode.FROZEN)
        for number, source in enumerate(backbones or ("tiny:qwen3",))
    )
    return Plan(name="Checked", data=data or DataSpec(source=BUILT_IN), training=TrainingSettings(steps=8), arms=arms)


def make_settings(**changes: Any) -> KubernetesSettings:  # noqa: ANN401 - any field
    fields: dict[str, Any] = {
        "namespace": "bench",
        "release": "freeze-bench",
        "template_config_map": "freeze-bench-worker",
        "num_threads": 1,
        "visible_paths": ("/results", "/cache", "/models/shared"),
        "has_hub_token": False,
        "check_nodes": True,
        "gpus_per_arm": 0,
    }
    return KubernetesSettings(**(fields | changes))


def node(gpus: object = None, **spec: object) -> dict[str, Any]:
    allocatable = {"cpu": "8", "memory": "32Gi"} | ({} if gpus is None else {"nvidia.com/gpu": str(gpus)})
    return {"metadata": {"name": "node"}, "spec": spec, "status": {"allocatable": allocatable}}


def quota(**spec: object) -> dict[str, Any]:
    return {"metadata": {"name": "team-quota"}, "spec": spec}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Check:
    """Check a plan where no hub answers; returns the warnings."""
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def run(plan: Plan, settings: KubernetesSettings | None = None, **facts: Any) -> list[str]:  # noqa: ANN401
        warnings: list[str] = []
        check_cluster_plan(plan, settings or make_settings(), ClusterFacts(**facts), warnings.append)
        return warnings

    return run


@pytest.mark.parametrize(
    "source",
    [
        "/home/me/news.csv",
        "news.csv",
        "./news.csv",
        "~/news.csv",
        "file:///home/me/news.csv",
        "FILE:///home/me/news.csv",
        "simplecache::file:///home/me/news.csv",
        "/results/../etc/news.csv",
        "/resultsother/news.csv",
        "/models/news.csv",
        "file:///results/../home/news.csv",
    ],
)
def test_a_data_file_that_pods_do_not_see_is_refused(check: Check, source: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(make_plan(data=DataSpec(source=source)))

    assert f"data.source is {source}" in caught.value.problem
    assert "/results, /cache, /models/shared" in caught.value.remedy


@pytest.mark.parametrize(
    "source",
    [
        "/results/news.csv",
        "/models/shared/deep/news.csv",
        "file:///cache/news.csv",
        "local:///cache/news.csv",
        "https://example.org/news.csv",
        "s3://bucket/news.parquet",
        "simplecache::s3://bucket/news.csv",
        BUILT_IN,
    ],
)
def test_data_that_pods_reach_is_accepted(check: Check, source: str) -> None:
    assert check(make_plan(data=DataSpec(source=source))) == []


def test_own_splits_and_backbones_are_looked_at_too_and_all_named_at_once(check: Check) -> None:
    data = DataSpec(source="/cache/a.csv", validation_source="/a/v.csv", test_source="/results/t.csv")
    plan = make_plan("/b/model", "./c/model.gguf", "/cache/model", "tiny:llama", data=data)

    with pytest.raises(ConfigError) as caught:
        check(plan)

    for hidden in (
        "data.validation_source is /a/v.csv",
        "arm 'Arm 0' is /b/model",
        "arm 'Arm 1' is ./c/model.gguf",
    ):
        assert hidden in caught.value.problem
    for seen in ("/cache/a.csv", "/results/t.csv", "/cache/model"):
        assert f"is {seen}" not in caught.value.problem


@pytest.mark.parametrize("nodes", [[], [node()], [node(0)], [node(1), node(1)], [{"metadata": {"name": "new"}}]])
def test_a_cluster_where_no_node_has_enough_gpus_is_refused(check: Check, nodes: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError) as caught:
        check(make_plan(), make_settings(gpus_per_arm=2), nodes=nodes)

    assert f"An arm asks for 2 nvidia.com/gpu, and of {len(nodes)} nodes the best has " in caught.value.problem
    assert "rbac.readNodes=false" in caught.value.remedy


def test_one_node_with_enough_gpus_is_enough_even_if_it_takes_no_pods_now(check: Check) -> None:
    nodes = [node(), node(2, unschedulable=True)]

    assert check(make_plan(), make_settings(gpus_per_arm=2), nodes=nodes) == []


def test_nodes_do_not_matter_without_gpus_or_without_the_right_to_see_them(check: Check) -> None:
    assert check(make_plan(), make_settings(gpus_per_arm=0), nodes=[]) == []
    assert check(make_plan(), make_settings(gpus_per_arm=1, check_nodes=False), nodes=[]) == []


def test_another_resource_that_counts_gpus_is_looked_for_by_its_name(check: Check) -> None:
    mig = make_settings(gpus_per_arm=1, gpu_resource="nvidia.com/mig-1g.10gb")

    with pytest.raises(ConfigError, match=r"An arm asks for 1 nvidia\.com/mig-1g\.10gb"):
        check(make_plan(), mig, nodes=[node(8)])


@pytest.mark.parametrize(
    ("hard", "words"),
    [
        ({"requests.nvidia.com/gpu": "1"}, "An arm needs requests.nvidia.com/gpu=2"),
        ({"count/jobs.batch": "0"}, "An arm needs count/jobs.batch=1"),
        ({"pods": "0"}, "An arm needs pods=1"),
    ],
)
def test_a_quota_that_is_too_small_for_one_arm_is_refused(check: Check, hard: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(make_plan(), make_settings(gpus_per_arm=2), nodes=[node(2)], quotas=[quota(hard=hard)])

    assert words in caught.value.problem
    assert "'team-quota'" in caught.value.problem
    assert "namespace 'bench'" in caught.value.remedy


@pytest.mark.parametrize(
    "spec",
    [
        {"hard": {"requests.nvidia.com/gpu": "2", "count/jobs.batch": "1k", "pods": "10"}},
        {"hard": {"cpu": "1", "memory": "1Gi"}},
        {"hard": {"pods": "0"}, "scopes": ["BestEffort"]},
        {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": []}},
        {},
    ],
)
def test_a_quota_that_leaves_room_or_is_for_other_pods_is_accepted(check: Check, spec: dict[str, Any]) -> None:
    assert check(make_plan(), make_settings(gpus_per_arm=2), nodes=[node(2)], quotas=[quota(**spec)]) == []


@pytest.fixture
def hub(
    hub_server: HubServer,
    check: Check,  # noqa: ARG001 - sets the environment, which is changed here
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> HubServer:
    """A hub with one open and one gated model, and the same of data sets."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    for name, gated in (("acme/open", False), ("acme/gated", True)):
        hub_server.add_model(name, tmp_path, gated=gated)
        hub_server.add_dataset(name, {"data.csv": b"text,label\n"}, gated=gated)
    monkeypatch.setenv("HF_ENDPOINT", hub_server.endpoint)
    return hub_server


@pytest.mark.usefixtures("hub")
def test_what_the_hub_shows_to_everybody_is_accepted(check: Check) -> None:
    assert check(make_plan("acme/open", data=DataSpec(source="acme/open"))) == []


@pytest.mark.usefixtures("hub")
def test_gated_repositories_without_a_token_are_refused_all_at_once(check: Check) -> None:
    plan = make_plan("acme/gated", "acme/open", data=DataSpec(source="acme/gated"))

    with pytest.raises(ConfigError) as caught:
        check(plan)

    assert caught.value.problem.count("acme/gated is gated, and this release has no hub token.") == 2
    assert "acme/open" not in caught.value.problem
    assert caught.value.remedy.count("Accept the terms of acme/gated") == 1
    assert "hub.existingSecret" in caught.value.remedy


def test_with_a_token_the_hub_is_left_to_the_jobs_that_have_it(check: Check, hub: HubServer) -> None:
    assert check(make_plan("acme/gated"), make_settings(has_hub_token=True)) == []
    assert hub.requests == []


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_not_there_is_refused(check: Check) -> None:
    with pytest.raises(ConfigError, match="The hub has no model 'acme/mistyped', or it is private") as caught:
        check(make_plan("acme/mistyped"))

    assert "Check the spelling" in caught.value.remedy


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("revision", ["no/such-branch", COMMIT])
def test_a_revision_that_is_not_there_is_refused(check: Check, revision: str) -> None:
    with pytest.raises(ConfigError, match=f"acme/open has no revision '{revision}'"):
        check(make_plan("acme/open", revision=revision))


def test_each_repository_is_asked_about_once(check: Check, hub: HubServer) -> None:
    check(make_plan("acme/open", "acme/open", revision="main"))

    assert [request.path for request in hub.requests] == ["/api/models/acme/open/revision/main"]


def test_a_hub_that_does_not_answer_refuses_nothing_and_is_mentioned(check: Check) -> None:
    (warning,) = check(make_plan("acme/open"))

    assert warning.startswith("Whether acme/open may be read was not checked, because the hub does not say:")


def test_everything_that_is_in_the_way_comes_in_one_message(check: Check, hub: HubServer) -> None:
    assert hub
    with pytest.raises(ConfigError) as caught:
        check(make_plan("/a/model", "acme/gated"), make_settings(gpus_per_arm=1), quotas=[quota(hard={"pods": "0"})])

    assert caught.value.problem.startswith("The plan 'Checked' cannot run on this cluster. Its pods do not see")
    for words in ("An arm asks for 1 nvidia.com/gpu", "the ResourceQuota 'team-quota'", "acme/gated is gated"):
        assert words in caught.value.problem


def labelled_node(gpus: int, mebibytes: int | None) -> dict[str, Any]:
    labels = {} if mebibytes is None else {GPU_MEMORY_LABEL: str(mebibytes)}
    made = node(gpus)
    return made | {"metadata": made["metadata"] | {"labels": labels}}


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("80Gi", 80 * 2**30), ("81559Mi", 81559 * 2**20), ("80G", 80 * 10**9), ("1.5Ti", 3 * 2**39), ("1000", 1000)],
)
def test_the_memory_of_a_gpu_is_what_the_chart_says(text: str, num_bytes: int) -> None:
    facts = ClusterFacts(nodes=(labelled_node(1, 10),))

    assert find_gpu_memory(make_settings(gpus_per_arm=1, gpu_memory=text), facts) == num_bytes


@pytest.mark.parametrize(
    ("nodes", "mebibytes"),
    [
        ([(1, 24576), (4, 81559)], 81559),
        ([(0, 99999), (1, 24576)], 24576),  # it offers none of them
        ([(1, 24576), (1, None)], None),  # one whose GPU may be of any size
        ([(0, None), (1, 24576)], 24576),
        ([], None),
    ],
)
def test_or_else_that_of_the_largest_that_the_nodes_labels_tell(
    nodes: list[tuple[int, int | None]], mebibytes: int | None
) -> None:
    facts = ClusterFacts(nodes=[labelled_node(*each) for each in nodes])

    assert find_gpu_memory(make_settings(gpus_per_arm=1), facts) == (mebibytes * 2**20 if mebibytes else None)


def test_arms_without_gpus_have_no_gpus_memory() -> None:
    assert find_gpu_memory(make_settings(gpus_per_arm=0, gpu_memory="80Gi"), ClusterFacts()) is None

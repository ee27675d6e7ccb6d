"""The pods of arms and of prepare Jobs."""

from typing import Any

import helm_python
import pytest

from chart_renderer import Object, main_container, read_env, render, secret_key

HUB = {"hub": {"existingSecret": "hub-token", "endpoint": "https://hub.example.org"}}


def test_an_arm_gets_one_gpu_and_trains_on_it() -> None:
    release = render()

    assert main_container(release.find_pod("worker"))["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert release.settings["gpus_per_arm"] == 1
    assert device(release.find_pod("runner")) == "cuda"


def test_gpus_are_added_to_the_limits_that_are_set() -> None:
    gpu = {"resource": "amd.com/gpu", "count": 2}
    release = render({"worker": {"gpu": gpu, "resources": {"limits": {"memory": "64Gi"}}}})

    assert main_container(release.find_pod("worker"))["resources"]["limits"] == {"amd.com/gpu": 2, "memory": "64Gi"}
    assert (release.settings["gpu_resource"], release.settings["gpus_per_arm"]) == ("amd.com/gpu", 2)


def test_without_gpus_arms_train_on_the_cpu() -> None:
    release = render({"worker": {"gpu": {"enabled": False}}})

    assert "limits" not in main_container(release.find_pod("worker"))["resources"]
    assert release.settings["gpus_per_arm"] == 0
    assert device(release.find_pod("runner")) == "cpu"


def test_gpus_can_be_counted_without_being_used() -> None:
    release = render({"plan": "demo", "worker": {"gpu": {"enabled": True}, "device": "cpu"}})

    assert release.settings["gpus_per_arm"] == 1
    assert device(release.find_pod("runner")) == "cpu"


def test_the_memory_of_a_gpu_is_told_if_it_is_known() -> None:
    assert render({"worker": {"gpu": {"memory": "80Gi"}}}).settings["gpu_memory"] == "80Gi"
    assert render().settings["gpu_memory"] is None


def test_arms_are_held_to_it_unless_that_is_switched_off() -> None:
    told, default = (
        read_env(main_container(release.find_pod("runner")))
        for release in (render({"worker": {"gpu": {"checkMemory": False}}}), render())
    )

    assert told["FREEZE_BENCH_CHECK_MEMORY"] == "false"
    assert "FREEZE_BENCH_CHECK_MEMORY" not in default


def test_cuda_without_gpus_is_refused() -> None:
    with pytest.raises(helm_python.HelmError, match=r"worker\.device to cpu"):
        render({"plan": "demo", "worker": {"device": "cuda"}})


def test_a_prepare_job_asks_for_no_gpu() -> None:
    assert "nvidia.com/gpu" not in str(main_container(render().find_pod("prepare")))


def test_only_prepare_jobs_see_the_hub_token() -> None:
    release = render(HUB)

    assert read_env(main_container(release.find_pod("prepare")))["HF_TOKEN"] == secret_key("hub-token", "token")
    others = [pod for pod in release.find_pods() if "hub-token" in str(pod)]
    assert others == [release.find_pod("prepare")]
    assert release.settings["has_hub_token"] is True


def test_without_a_token_nothing_mentions_one() -> None:
    release = render()

    assert "HF_TOKEN" not in str(list(release.find_pods()))
    assert release.settings["has_hub_token"] is False


def test_a_mirror_is_told_to_those_who_ask_the_hub() -> None:
    release = render(HUB)
    environments = {name: read_env(main_container(release.find_pod(name))) for name in ("prepare", "runner", "worker")}

    assert environments["prepare"]["HF_ENDPOINT"] == environments["runner"]["HF_ENDPOINT"] == "https://hub.example.org"
    assert "HF_ENDPOINT" not in environments["worker"]


def test_arms_run_with_the_hub_switched_off() -> None:
    release = render()

    assert read_env(main_container(release.find_pod("worker")))["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in read_env(main_container(release.find_pod("prepare")))


@pytest.mark.parametrize("component", ["worker", "prepare"])
def test_a_worker_leaves_its_last_words_and_uses_its_threads(component: str) -> None:
    container = main_container(render({"worker": {"threads": 3}}).find_pod(component))
    environment = read_env(container)

    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert environment["FREEZE_BENCH_TERMINATION_LOG"] == "/dev/termination-log"
    assert environment["OMP_NUM_THREADS"] == environment["RAYON_NUM_THREADS"] == "3"


def test_a_result_can_name_the_image_that_made_it() -> None:
    digest = f"sha256:{'a' * 64}"
    container = main_container(render({"images": {"worker": {"digest": digest}}}).find_pod("worker"))

    assert read_env(container)["FREEZE_BENCH_IMAGE"] == container["image"]
    assert container["image"].endswith(f"@{digest}")


def test_workers_bear_the_taint_of_gpu_nodes() -> None:
    release = render()

    for component in ("worker", "prepare"):
        assert release.find_pod(component)["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]


def test_workers_run_where_they_are_told() -> None:
    where = {"nodeSelector": {"gpu": "h100"}, "affinity": {"nodeAffinity": {}}, "priorityClassName": "research"}
    release = render({"worker": {**where, "runtimeClassName": "nvidia"}})

    for component in ("worker", "prepare"):
        assert where.items() <= release.find_pod(component)["spec"].items()
    assert release.find_pod("worker")["spec"]["runtimeClassName"] == "nvidia"
    assert "runtimeClassName" not in release.find_pod("prepare")["spec"]


def test_prepare_jobs_can_run_elsewhere() -> None:
    where: dict[str, Any] = {"nodeSelector": {"disk": "fast"}, "tolerations": [], "affinity": {"nodeAffinity": {}}}
    arms = {"nodeSelector": {"gpu": "h100"}, "affinity": {"podAffinity": {}}}
    release = render({"worker": arms, "prepare": {**where, "podAnnotations": {"team": "data"}}})

    prepare, arm = release.find_pod("prepare"), release.find_pod("worker")
    assert prepare["metadata"]["annotations"] == {"team": "data"}
    assert prepare["spec"]["nodeSelector"] == {"disk": "fast"}
    assert prepare["spec"]["affinity"] == {"nodeAffinity": {}}
    assert "tolerations" not in prepare["spec"]
    assert (arm["spec"]["nodeSelector"], arm["spec"]["affinity"]) == ({"gpu": "h100"}, {"podAffinity": {}})


@pytest.mark.parametrize(
    ("values", "memory"),
    [
        ({}, "16Gi"),
        ({"plan": "demo"}, "2Gi"),
        ({"plan": "demo", "worker": {"gpu": {"enabled": True}}}, "2Gi"),
        ({"worker": {"gpu": {"enabled": False}}}, "2Gi"),
        ({"worker": {"resources": {"requests": {"memory": "64Gi"}}}}, "64Gi"),
        ({"worker": {"resources": {"limits": {"memory": "8Gi"}}}}, "8Gi"),
    ],
)
def test_an_arm_requests_memory_for_the_backbones_it_may_get(values: dict[str, Any], memory: str) -> None:
    resources = main_container(render(values).find_pod("worker"))["resources"]

    assert resources["requests"] == {"cpu": "1", "memory": memory}


def test_more_volumes_become_paths_that_plans_may_name() -> None:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "tickets"}}
    mount = {"name": "data", "mountPath": "/data", "readOnly": True}
    release = render({"worker": {"extraVolumes": [volume], "extraVolumeMounts": [mount]}})

    for component in ("worker", "prepare"):
        pod = release.find_pod(component)
        assert volume in pod["spec"]["volumes"]
        assert mount in main_container(pod)["volumeMounts"]
    assert release.settings["visible_paths"] == ["/results", "/cache", "/data"]
    assert render().settings["visible_paths"] == ["/results", "/cache"]


def test_more_variables_reach_both_kinds_of_worker() -> None:
    more = {"extraEnv": [{"name": "TZ", "value": "UTC"}], "extraEnvFrom": [{"secretRef": {"name": "more"}}]}
    release = render({"worker": more})

    for component in ("worker", "prepare"):
        container = main_container(release.find_pod(component))
        assert read_env(container)["TZ"] == "UTC"
        assert container["envFrom"] == [{"secretRef": {"name": "more"}}]
    assert "envFrom" not in main_container(render().find_pod("worker"))


def test_jobs_run_as_they_are_told() -> None:
    jobs = {
        "maxRetries": 0,
        "prepareDeadlineSeconds": 60,
        "runDeadlineSeconds": 10_000_000,
        "pendingLimitSeconds": 90,
        "keepSeconds": 120,
    }
    settings = render({"jobs": jobs, "kueue": {"queueName": "research"}}).settings

    assert [settings[key] for key in ("max_retries", "prepare_deadline_seconds", "run_deadline_seconds")] == [
        0,
        60,
        10_000_000,
    ]
    assert (settings["pending_limit_seconds"], settings["keep_seconds"], settings["queue_name"]) == (
        90,
        120,
        "research",
    )


def test_by_default_jobs_wait_for_ever_and_in_no_queue() -> None:
    settings = render().settings

    assert (settings["pending_limit_seconds"], settings["queue_name"]) == (None, None)


def test_workers_have_an_account_without_rights() -> None:
    release = render()

    assert "bench-freeze-bench-worker" in release.names("ServiceAccount")
    assert "bench-freeze-bench-worker" not in str(
        release.find_all("RoleBinding") + release.find_all("ClusterRoleBinding")
    )
    for component in ("worker", "prepare"):
        assert release.find_pod(component)["spec"]["serviceAccountName"] == "bench-freeze-bench-worker"


def test_an_account_carries_its_cloud_identity() -> None:
    annotations = {"eks.amazonaws.com/role-arn": "arn"}
    release = render({"worker": {"serviceAccount": {"annotations": annotations}}})

    assert release.find("ServiceAccount", "bench-freeze-bench-worker")["metadata"]["annotations"] == annotations


def test_a_memory_for_threads_is_shared_and_bounded() -> None:
    volumes: list[Any] = render({"worker": {"sharedMemory": "2Gi"}}).find_pod("worker")["spec"]["volumes"]

    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in volumes


def device(runner: Object) -> str:
    """Return what the runner tells workers to train on."""
    return str(read_env(main_container(runner))["FREEZE_BENCH_DEVICE"])

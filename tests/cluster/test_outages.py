"""Parts of the cluster and of the release that go while arms train: what it costs, which is no attempt."""

import pytest

from cluster.enclosure import wait_until
from cluster.local_cluster import LocalCluster
from cluster.long_arms import ARM, LONG, NAME, ChangeRelease, Submit, assert_completed, attempts, num_failed
from cluster.release import Release

pytestmark = [pytest.mark.system, pytest.mark.full, pytest.mark.timeout(900)]


@pytest.mark.parametrize("component", ["kube-apiserver", "etcd", "containerd", "kubelet"])
def test_a_component_that_is_restarted_costs_no_attempt(
    component: str, local_cluster: LocalCluster, release: Release, submit: Submit
) -> None:
    comparison = f"without-{component}"
    flow_run = submit(comparison)
    release.wait_for_step(comparison, ARM, 100)

    with local_cluster.without_component(component):
        assert not local_cluster.is_alive(component)

    assert_completed(release, flow_run)
    assert len(attempts(release, comparison)) == 1
    assert num_failed(release, comparison) == 0


def test_a_new_runner_adopts_the_jobs_of_the_one_before_it(release: Release, submit: Submit) -> None:
    flow_run = submit("runner-deleted", steps=600, seeds=[0, 1])
    # Seed 0 is done, and the Job was made for both.
    release.wait_for_step("runner-deleted", ARM, 100, seed=1, seconds=400)
    job = release.job_of("runner-deleted", ARM)

    release.kubectl.run("delete", "pod", "--selector=app.kubernetes.io/component=runner", "--wait=true")

    assert_completed(release, flow_run)
    after = release.job_of("runner-deleted", ARM)
    assert after["metadata"]["uid"] == job["metadata"]["uid"]
    assert len(attempts(release, "runner-deleted")) == 1
    assert release.ask_prefect(f"flow_runs/{flow_run}")["run_count"] == 2


def test_an_upgrade_leaves_jobs_running(release: Release, submit: Submit, changed_release: ChangeRelease) -> None:
    flow_run = submit("upgraded")
    release.wait_for_step("upgraded", ARM, 100)

    changed_release(worker={"sharedMemory": "512Mi"})

    assert_completed(release, flow_run)
    assert len(attempts(release, "upgraded")) == 1


def test_a_prefect_server_that_is_killed_costs_no_attempt(release: Release, submit: Submit) -> None:
    flow_run = submit("prefect-killed")
    release.wait_for_step("prefect-killed", ARM, 100)

    selector = "--selector=app.kubernetes.io/component=prefect"
    release.kubectl.run("delete", "pod", selector, "--grace-period=0", "--force")
    release.kubectl.run("rollout", "status", f"deployment/{NAME}-prefect", "--timeout=120s")

    assert_completed(release, flow_run)
    assert len(attempts(release, "prefect-killed")) == 1


def test_a_cancelled_comparison_leaves_neither_job_nor_pod(release: Release, submit: Submit) -> None:
    flow_run = submit("cancelled", steps=5 * LONG, labels=("One", "Two", "Three"))
    release.wait_for_step("cancelled", "one", 50)

    release.cancel(flow_run)

    selector = "freeze-bench/comparison=cancelled"
    wait_until(lambda: not release.jobs(selector) and not release.pods(selector), "Jobs and pods to go", seconds=60)
    assert release.wait_for_end(flow_run, seconds=60)["type"] == "CANCELLED"
    assert {release.status("cancelled", arm)["state"] for arm in ("one", "two", "three")} == {"cancelled"}

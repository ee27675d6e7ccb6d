"""The executor on a real cluster, with a shell script in the worker's place: what it makes, adopts and leaves."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from kubernetes import client, config

from cluster.busybox_pods import RESTRICTED
from cluster.enclosure import wait_until
from cluster.images import BUSYBOX_IMAGE
from cluster.kubectl import Document, Kubectl, is_true
from cluster.local_cluster import LocalCluster
from flows.cluster import Cluster, ClusterError
from flows.cluster_settings import KubernetesSettings, WorkerTemplates
from flows.executors import CloseReason, ExecutorClosedError, WorkerOutcome, WorkerState
from flows.executors.kubernetes import KubernetesExecutor, Release
from worker.contract.config import Execution, PrepareConfig
from worker.contract.plan import LANGUAGE_NAMES, DataSpec
from worker.contract.results import ArmState

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("local_cluster")]  # that has the shell's image

COMPARISON = "shell"
SELECTOR = f"freeze-bench/comparison={COMPARISON}"
FIRST, SECOND = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2))


class Bench:
    """Executors of one namespace, and the workers that were asked for."""

    def __init__(self, namespace: Kubectl) -> None:
        """Start nothing yet."""
        self.kubectl = namespace
        self.threads = ThreadPoolExecutor(16)
        self.states: dict[str, list[WorkerState]] = {}
        self.executors: list[KubernetesExecutor] = []
        namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "templates"}})

    def executor(self, script: str, *, flow_run: str = FIRST, **settings: object) -> KubernetesExecutor:
        """Return an executor whose workers run a script."""
        loaded = client.Configuration()
        loaded.retries = False
        config.load_kube_config(str(self.kubectl.kubeconfig), client_configuration=loaded)
        cluster = Cluster(client.ApiClient(loaded), self.kubectl.namespace)
        execution = Execution(results="/results", cache="/cache")
        release = Release(self._settings(settings), WorkerTemplates(prepare=pod(script), run=pod(script)))
        executor = KubernetesExecutor(cluster, release, execution, comparison=COMPARISON, flow_run=flow_run)
        self.executors.append(executor)
        return executor

    def ask(self, executor: KubernetesExecutor, name: str, *, source: str = LANGUAGE_NAMES) -> "Future[WorkerOutcome]":
        """Have a worker run, and note where it is."""
        states = self.states[name] = []
        document = PrepareConfig(
            comparison=COMPARISON,
            name=name,
            answer="answer.json",
            data=DataSpec(source=source),
            execution=executor.execution,
        )
        return self.threads.submit(executor.run, document, states.append)

    def job(self, name: str) -> Document:
        """Return the Job of a worker, once it is there."""
        wait_until(lambda: len(self.kubectl.list("jobs", f"freeze-bench/arm={name}")) == 1, f"the Job of {name}")
        (job,) = self.kubectl.list("jobs", f"freeze-bench/arm={name}")
        return job

    def wait_for_state(self, name: str, state: ArmState, words: str = "") -> None:
        """Wait until it was told that a worker is somewhere, with certain words."""

        def was_told() -> bool:
            return any(each.state is state and words in each.detail for each in self.states[name])

        wait_until(was_told, f"{name} to be {state} {words}", seconds=90)

    def _settings(self, changed: dict[str, object]) -> KubernetesSettings:
        values = {
            "namespace": self.kubectl.namespace,
            "release": "bench",
            "template_config_map": "templates",
            "max_retries": 0,
            "num_threads": 1,
            "visible_paths": [],
            "has_hub_token": False,
            "check_nodes": False,
        }
        return KubernetesSettings.model_validate(values | changed)


def pod(script: str) -> Document:
    """Return the template of a pod that runs a script, and then ends well."""
    worker = {
        "name": "worker",
        "image": BUSYBOX_IMAGE,
        "command": ["/bin/sh", "-c", script],
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {"spec": {"containers": [worker], "terminationGracePeriodSeconds": 1}}


@pytest.fixture
def bench(namespace: Kubectl) -> Iterator[Bench]:
    bench = Bench(namespace)
    yield bench
    for executor in bench.executors:
        executor.close(CloseReason.DONE)  # otherwise it would look for Jobs as long as this process lives
    namespace.run("delete", "jobs", "--all", "--cascade=foreground")
    bench.threads.shutdown()


def test_a_worker_that_ends_well_is_done(bench: Bench) -> None:
    outcome = bench.ask(bench.executor("cat /etc/freeze-bench/config.json"), "good").result(timeout=90)

    assert outcome == WorkerOutcome(exit_code=0, failure=None)
    assert is_true(bench.job("good"), "Complete")
    assert '"name":"good"' in bench.kubectl.logs(f"job/{bench.job('good')['metadata']['name']}")


def test_a_worker_that_fails_for_good_says_why_with_its_last_words(bench: Bench) -> None:
    words = '{"exit_code": 41, "problem": "No such column.", "remedy": "Name another."}'
    executor = bench.executor(f"echo '{words}' > /dev/termination-log; exit 41", max_retries=3)

    outcome = bench.ask(executor, "bad").result(timeout=90)

    assert outcome.failure
    assert (outcome.exit_code, outcome.is_exhausted) == (41, True)
    assert outcome.failure.problem == "No such column."
    assert len(bench.kubectl.list("pods", SELECTOR)) == 1


def test_another_executor_adopts_what_one_has_left(bench: Bench) -> None:
    first, second = bench.executor("sleep 5"), bench.executor("sleep 5", flow_run=SECOND)
    left = bench.ask(first, "left")
    bench.wait_for_state("left", ArmState.RUNNING)

    first.close(CloseReason.FAILED)
    with pytest.raises(ExecutorClosedError):
        left.result(timeout=30)
    job = bench.job("left")
    outcome = bench.ask(second, "left").result(timeout=90)

    assert outcome.failure is None
    assert bench.job("left")["metadata"]["uid"] == job["metadata"]["uid"]
    assert len(bench.kubectl.list("pods", SELECTOR)) == 1


def test_a_job_that_is_over_is_made_again_for_another_flow_run_only(bench: Bench) -> None:
    assert bench.ask(bench.executor("true"), "over").result(timeout=90).failure is None
    uid = bench.job("over")["metadata"]["uid"]

    assert bench.ask(bench.executor("true"), "over").result(timeout=90).failure is None
    assert bench.job("over")["metadata"]["uid"] == uid
    assert bench.ask(bench.executor("true", flow_run=SECOND), "over").result(timeout=90).failure is None
    assert bench.job("over")["metadata"]["uid"] != uid


def test_a_job_that_works_on_something_else_is_left_alone(bench: Bench) -> None:
    busy = bench.ask(bench.executor("sleep 5"), "busy")
    job = bench.job("busy")

    with pytest.raises(ClusterError, match="at work for another plan or version") as caught:
        bench.ask(bench.executor("sleep 5"), "busy", source="acme/news").result(timeout=30)

    assert f"delete job {job['metadata']['name']}" in caught.value.remedy
    assert busy.result(timeout=90).failure is None


def test_cancelling_deletes_jobs_and_pods_and_nothing_of_others(bench: Bench) -> None:
    executor = bench.executor("sleep 600")
    asked = [bench.ask(executor, name) for name in ("one", "two")]
    template = pod("true")
    template["spec"]["restartPolicy"] = "Never"
    other = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "other"}, "spec": {"template": template}}
    bench.kubectl.apply(other)
    bench.wait_for_state("one", ArmState.RUNNING)

    executor.close(CloseReason.CANCELLED)

    assert bench.kubectl.list("jobs", SELECTOR) == []
    assert bench.kubectl.list("pods", SELECTOR) == []
    assert bench.kubectl.get("job", "other")
    for future in asked:
        with pytest.raises(ExecutorClosedError):
            future.result(timeout=30)


def test_a_job_that_somebody_deletes_has_failed(bench: Bench) -> None:
    asked = bench.ask(bench.executor("sleep 600"), "deleted")
    bench.wait_for_state("deleted", ArmState.RUNNING)

    bench.kubectl.delete("job", bench.job("deleted")["metadata"]["name"])

    outcome = asked.result(timeout=60)
    assert outcome.failure
    assert "was deleted while it was followed" in outcome.failure.problem


@pytest.mark.parametrize("resource", ["count/jobs.batch", "count/pods"])
def test_a_quota_that_is_used_up_is_waited_for(resource: str, bench: Bench) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {resource: "0"}},
    }
    bench.kubectl.apply(quota)
    bench.kubectl.wait_for("resourcequota", "few", lambda found: "hard" in found.get("status", {}))

    asked = bench.ask(bench.executor("true"), "waiting")
    bench.wait_for_state("waiting", ArmState.QUEUED, "quota")
    bench.kubectl.delete("resourcequota", "few")

    assert asked.result(timeout=120).failure is None


def test_a_worker_that_finds_no_place_in_time_fails_with_what_it_waited_for(bench: Bench) -> None:
    executor = bench.executor("true", pending_limit_seconds=3)
    limits = {"limits": {"example.com/none": "1"}}
    executor._release.templates.prepare["spec"]["containers"][0]["resources"] = limits  # noqa: SLF001 - as of the chart

    outcome = bench.ask(executor, "nowhere").result(timeout=90)

    assert outcome.failure
    assert "found no place in the cluster within 3 s" in outcome.failure.problem
    assert "example.com/none" in outcome.failure.problem
    wait_until(lambda: bench.kubectl.list("jobs", SELECTOR) == [], "the Job to be deleted")


@pytest.mark.full
def test_an_api_server_that_is_away_is_waited_for(local_cluster: LocalCluster, bench: Bench) -> None:
    asked = bench.ask(bench.executor("sleep 15"), "patient")
    bench.wait_for_state("patient", ArmState.RUNNING)

    late = bench.executor("true")
    with local_cluster.without_component("kube-apiserver"):
        later = bench.ask(late, "late")

    assert asked.result(timeout=90).failure is None
    assert later.result(timeout=90).failure is None

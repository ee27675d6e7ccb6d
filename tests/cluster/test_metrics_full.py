"""Curves in Prometheus through what happens to arms: killed, preempted, reused, beside those of another comparison."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.curves import (
    ask_points,
    ask_source,
    count_gauge_points,
    read_plan,
    read_store_points,
    wait_until_scraped,
)
from cluster.helm import Helm
from cluster.kubectl import Document, Kubectl
from cluster.local_cluster import GPU, LocalCluster
from cluster.node_processes import kill_after_last_step
from cluster.preemption import all_gpus_taken
from cluster.prometheus_pods import running_prometheus, within_namespace
from cluster.release import COMPARISON_SECONDS, Release, reached
from operations_guide import read_scrape_config
from prometheus_api import Point, PrometheusApi
from scripts.metrics_reference import PAGE, replace_part
from worker.contract.errors import ExitCode
from worker.contract.metric_spec import Source
from worker.contract.results import Attempt

pytestmark = [pytest.mark.system, pytest.mark.full, pytest.mark.timeout(1800)]

NAME = "freeze-bench"
OTHER = "other-freeze-bench"
INTERVALS = ("5s", "15s")
NUM_STEPS = 110

FAULTS = "faults"
KILLED, PREEMPTED, REUSED = "live-llama", "live-qwen3", "frozen-gemma3"

PLAN = """
name = "{name}"
seeds = [{seed}]

[data]
source = "builtin:language-names"
test_examples = 2048  # scored after the last step: a worker has something to do there in which it can be killed

[training]
steps = 110
batch_size = 128
max_tokens = 64
backbone_lr = 1e-3
"""

ARM = """
[[arms]]
label = "{label}"
backbone = "tiny:{architecture}"
mode = "{mode}"
"""

LIVE_QWEN3 = ARM.format(label="Live Qwen3", architecture="qwen3", mode="live")
FROZEN_GEMMA3 = ARM.format(label="Frozen Gemma3", architecture="gemma3", mode="frozen")
SEVEN_ARMS = (
    LIVE_QWEN3,
    ARM.format(label="Live Llama", architecture="llama", mode="live"),
    FROZEN_GEMMA3,
    *(
        ARM.format(label=f"Frozen {architecture}", architecture=architecture, mode="frozen")
        for architecture in ("qwen3", "llama", "mistral", "smollm3")
    ),
)


def write_plan(folder: Path, name: str, *arms: str, seed: int = 0) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(PLAN.format(name=name, seed=seed) + "".join(arms), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(scope="module")
def release(module_helm: Helm, module_namespace: Kubectl, release_values: Document) -> Iterator[Release]:
    module_helm.install(NAME, release_values)
    with reached(NAME, module_namespace) as release:
        yield release


@pytest.fixture(scope="module")
def reused(release: Release, folder: Path) -> str:
    """An arm whose run ended before any Prometheus was there."""
    assert_completed(release, release.submit(write_plan(folder, FAULTS, FROZEN_GEMMA3)))
    return REUSED


@pytest.fixture(scope="module")
def servers(local_cluster: LocalCluster, release: Release, reused: str) -> Iterator[dict[str, PrometheusApi]]:
    """A Prometheus for each interval, that knows nothing of the first run."""
    assert reused
    with ExitStack() as stack:
        yield {
            interval: stack.enter_context(
                running_prometheus(
                    local_cluster,
                    release.kubectl,
                    within_namespace(read_scrape_config(), release.kubectl.namespace, interval),
                )
            )
            for interval in INTERVALS
        }


@pytest.fixture(scope="module")
def prometheus(servers: dict[str, PrometheusApi]) -> PrometheusApi:
    """The one that scrapes more rarely."""
    return servers[INTERVALS[-1]]


@dataclass(frozen=True)
class Told:
    """What the dashboard's query answered, moment by moment, while arms were killed and preempted; and in the end."""

    moments: list[dict[Point, float]]
    stored: dict[Point, float]


@pytest.fixture(scope="module")
def told(servers: dict[str, PrometheusApi], prometheus: PrometheusApi, release: Release, folder: Path) -> Told:
    flow_run = release.submit(write_plan(folder, FAULTS, *SEVEN_ARMS))
    with ThreadPoolExecutor(1) as executor, asked_again_and_again(prometheus, FAULTS) as moments:
        killed = executor.submit(kill_after_last_step, release, FAULTS, KILLED, seconds=COMPARISON_SECONDS)
        release.wait_for_step(FAULTS, PREEMPTED, NUM_STEPS // 3, seconds=COMPARISON_SECONDS)
        with all_gpus_taken(release.kubectl):
            release.wait_for_detail(FAULTS, PREEMPTED, GPU)
        assert killed.result()
        assert_completed(release, flow_run)
        stored = read_store_points(release, FAULTS)
        states = {arm: "reused" if arm == REUSED else "done" for arm, _ in stored}
        for api in servers.values():
            wait_until_scraped(api, FAULTS, states)
    return Told([*moments, ask_points(prometheus, FAULTS)], stored)


@contextmanager
def asked_again_and_again(api: PrometheusApi, comparison: str) -> Iterator[list[dict[Point, float]]]:
    """Ask for the points of a comparison once a second, for as long as the block lasts."""
    moments: list[dict[Point, float]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.wait(1):
            moments.append(ask_points(api, comparison))

    with ThreadPoolExecutor(1) as executor:
        asking = executor.submit(ask)
        try:
            yield moments
        finally:
            is_over.set()
        asking.result()  # what went wrong there is a failure here


def attempts(release: Release, arm: str) -> list[Attempt]:
    content = release.read_result(f"{FAULTS}/runs/{arm}/seed-0/attempts.jsonl")
    return [Attempt.model_validate_json(line) for line in content.splitlines()]


def assert_completed(release: Release, flow_run: str) -> None:
    state = release.wait_for_end(flow_run)
    assert state["type"] == "COMPLETED", state


def seen_steps(told: Told, arm: str) -> set[int]:
    """Return how far an arm's curve was seen to go."""
    lasts = (max((step for each, step in points if each == arm), default=None) for points in told.moments)
    return {last for last in lasts if last is not None}


def test_the_faults_came_as_they_were_meant_to(told: Told, release: Release) -> None:
    assert told.moments
    *_, preempted = attempts(release, PREEMPTED)
    assert preempted.resumed_at_step
    assert attempts(release, PREEMPTED)[0].exit_code == ExitCode.TERMINATED
    killed = attempts(release, KILLED)
    assert [attempt.ended_at for attempt in killed].count(None) == 1
    assert killed[-1].exit_code == ExitCode.DONE
    assert release.status(FAULTS, REUSED)["state"] == "reused"


def test_every_point_is_there_after_all_of_that(told: Told, servers: dict[str, PrometheusApi]) -> None:
    assert len(told.stored) == 7 * (NUM_STEPS + 1) == 777
    for api in servers.values():
        assert ask_points(api, FAULTS) == told.stored


@pytest.mark.usefixtures("told")
def test_how_many_points_arrive_is_written_down(servers: dict[str, PrometheusApi], release: Release) -> None:
    plan = read_plan(release, FAULTS)
    num_planned = len(plan.arms) * len(plan.seeds) * len(plan.training.eval_steps)
    rows = ["| Scraped every | Points in Prometheus | From workers alone | A plain gauge |", "|---|---|---|---|"]
    for interval, api in servers.items():
        live, gauge = len(ask_source(api, FAULTS, Source.WORKER)), count_gauge_points(api, FAULTS)
        rows.append(f"| {interval} | {len(ask_points(api, FAULTS))} of {num_planned} | {live} | {gauge} |")
        assert 0 < gauge <= live <= num_planned

    PAGE.write_text(replace_part(PAGE.read_text("utf-8"), "arrivals", "\n".join(rows)), "utf-8")


def test_no_curve_ever_forks_or_jumps_back(told: Told) -> None:
    seen: dict[Point, float] = {}
    for points in told.moments:
        assert seen.items() <= points.items()
        seen = points


@pytest.mark.parametrize("arm", [KILLED, PREEMPTED])
def test_a_curve_is_seen_while_its_arm_trains(arm: str, told: Told) -> None:
    assert seen_steps(told, arm) - {0, NUM_STEPS}


@pytest.mark.usefixtures("told")
def test_an_arm_that_was_reused_is_there_from_the_store_alone(prometheus: PrometheusApi) -> None:
    from_store = {arm for arm, _ in ask_source(prometheus, FAULTS, Source.STORE)}
    from_workers = {arm for arm, _ in ask_source(prometheus, FAULTS, Source.WORKER)}

    assert REUSED in from_store
    assert REUSED not in from_workers


def test_two_comparisons_at_once_keep_to_themselves(
    prometheus: PrometheusApi, release: Release, module_helm: Helm, release_values: Document, folder: Path
) -> None:
    arms = (LIVE_QWEN3, FROZEN_GEMMA3)
    module_helm.install("other", release_values)
    with reached(OTHER, release.kubectl) as other:
        second = other.submit(write_plan(folder, "two", *arms, seed=1))
        # It has everything to prepare, which the first release has done.
        other.wait_for_step("two", PREEMPTED, 1, seed=1, seconds=400)
        first = release.submit(write_plan(folder, "one", *arms))
        assert_completed(release, first)
        assert_completed(other, second)
        stored = [read_store_points(release, "one"), read_store_points(other, "two")]
        spans = [release.status("one", PREEMPTED), other.status("two", PREEMPTED)]
        for name, points in zip(("one", "two"), stored, strict=True):
            wait_until_scraped(prometheus, name, dict.fromkeys({arm for arm, _ in points}, "done"))

    assert max(span["started_at"] for span in spans) < min(span["ended_at"] for span in spans)
    assert [len(points) for points in stored] == [222, 222]
    assert stored[0] != stored[1]
    assert [ask_points(prometheus, "one"), ask_points(prometheus, "two")] == stored

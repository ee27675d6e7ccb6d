"""Seven curves in a Prometheus that found their pods by itself: every point of them, by the dashboard's own queries."""

import time
from collections.abc import Iterator

import pytest

from cluster.curves import ask_points, ask_source, read_plan, read_store_points, wait_until_scraped
from cluster.helm import Helm
from cluster.kubectl import Document, Kubectl
from cluster.local_cluster import LocalCluster
from cluster.prometheus_pods import running_prometheus, within_namespace
from cluster.release import Release, reached
from dashboard_picture import ask_panel, build_lines, find_curves_panel
from grafana_panels import load_dashboard, to_frames
from operations_guide import read_scrape_config
from prometheus_api import Point, PrometheusApi, read_rows
from worker.contract.metric_spec import Source

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

NAME = "freeze-bench"
DEMO = "demo"
NUM_STEPS = 110
INTERVAL = "5s"

LATER_SECONDS = 20 * 60 * 60
"""After so long a worker's pod is long gone, and the runner's may be."""


@pytest.fixture(scope="module")
def release(module_helm: Helm, module_namespace: Kubectl, release_values: Document) -> Iterator[Release]:
    module_helm.install(NAME, release_values)
    with reached(NAME, module_namespace) as release:
        yield release


@pytest.fixture(scope="module")
def prometheus(local_cluster: LocalCluster, release: Release) -> Iterator[PrometheusApi]:
    """A Prometheus that has watched the demo from before its start until all was known of its end."""
    config = within_namespace(read_scrape_config(), release.kubectl.namespace, INTERVAL)
    with running_prometheus(local_cluster, release.kubectl, config) as api:
        state = release.wait_for_end(release.start_comparison())
        assert state["type"] == "COMPLETED", state
        wait_until_scraped(api, DEMO, dict.fromkeys(arms(release), "done"))
        yield api


@pytest.fixture(scope="module")
def stored(release: Release, prometheus: PrometheusApi) -> dict[Point, float]:
    """The points of the demo as the results store has them."""
    assert prometheus
    points = read_store_points(release, DEMO)
    assert len(points) == 7 * (NUM_STEPS + 1) == 777
    return points


def arms(release: Release) -> list[str]:
    return [arm.slug for arm in read_plan(release, DEMO).arms]


def test_the_curves_query_finds_every_point_once(prometheus: PrometheusApi, stored: dict[Point, float]) -> None:
    assert ask_points(prometheus, DEMO) == stored


def test_the_curves_are_there_on_the_next_day(prometheus: PrometheusApi, stored: dict[Point, float]) -> None:
    assert ask_points(prometheus, DEMO, at=time.time() + LATER_SECONDS) == stored


def test_grafana_is_given_a_line_for_each_arm(prometheus: PrometheusApi, stored: dict[Point, float]) -> None:
    panel = find_curves_panel()

    lines = build_lines(panel, to_frames(panel, ask_panel(prometheus, panel, DEMO)))

    drawn = {
        (line.name, int(step)): value for line in lines for step, value in zip(line.steps, line.values, strict=True)
    }
    assert len(lines) == 7
    assert drawn == stored


def test_worker_and_store_show_the_same_points(prometheus: PrometheusApi, stored: dict[Point, float]) -> None:
    live = ask_source(prometheus, DEMO, Source.WORKER)

    assert live, "no worker was scraped while it trained"
    assert live.items() <= stored.items()
    assert ask_source(prometheus, DEMO, Source.STORE) == stored


def test_every_arm_stands_in_the_standings_once(prometheus: PrometheusApi, release: Release) -> None:
    (panel,) = (panel for panel in load_dashboard()["panels"] if panel["type"] == "table")

    (frame,) = to_frames(panel, ask_panel(prometheus, panel, DEMO))

    (named,) = (field["values"] for field in frame["fields"] if field["name"] == "Arm")
    assert sorted(named) == sorted(arms(release))


def test_worker_and_runner_are_found_as_one_job(prometheus: PrometheusApi) -> None:
    rows = read_rows(prometheus.query(f"max by (job, pod) (max_over_time(up[{LATER_SECONDS}s]))"))

    assert {labels["job"] for labels, _ in rows} == {"freeze-bench"}
    was_up = {labels["pod"] for labels, value in rows if value == 1}  # a worker that begins does not answer yet
    assert sum(f"{NAME}-runner-" in pod for pod in was_up) == 1
    assert len(was_up) > 1

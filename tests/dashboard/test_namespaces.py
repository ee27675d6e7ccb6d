"""Releases in several namespaces, and a machine that has none: their arms bear the same names and are not the same."""

from collections.abc import Iterator

import pytest

from asked_panels import DAY_SECONDS, LOOKED_AT, SOON, ask, draw_lines, read_table
from grafana_panels import ALL, load_dashboard, panel_queries
from prometheus_api import PrometheusApi, read_rows
from recorded_arms import BEGAN, Said
from recorded_prometheus import Recorded, run_prometheus
from worker.contract.metric_names import STORE_LAST_READ_TIMESTAMP

pytestmark = pytest.mark.system

NO_NAMESPACE = "\N{EN DASH}"
"""What the standings show where there is none, as for every value that is missing."""

CASES = [
    Said(comparison="one"),
    Said(comparison="shared", namespace="x", curves={0: [0.1, 0.2]}, num_planned=4, state="running"),
    Said(comparison="shared", namespace="x", curves={0: [0.1, 0.2, 0.3]}, num_planned=4, pod="x", state=None),
    Said(comparison="shared", namespace="y", curves={0: [0.5, 0.6]}, num_planned=2, at=BEGAN + 60),
    Said(comparison="shared", namespace="y", curves={0: [0.5, 0.6]}, num_planned=2, pod="y", state=None),
    Said(comparison="shared", namespace=None, curves={0: [0.9]}, num_planned=4, state="failed", at=BEGAN + 30),
    Said(comparison="local", namespace=None, curves={0: [0.1, 0.2]}, num_planned=2, pod="127.0.0.1"),
]
READ = [
    Recorded(name=STORE_LAST_READ_TIMESTAMP.name, labels={"job": "freeze-bench", **target}, value=float(at), at=at)
    for target, at in [
        ({"instance": "runner-1:9464", "namespace": "research"}, BEGAN),
        ({"instance": "runner-2:9464", "namespace": "research"}, BEGAN + 60),
        ({"instance": "runner:9464", "namespace": "x"}, BEGAN + 10),
        ({"instance": "127.0.0.1:9464"}, BEGAN + 80),
    ]
]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusApi]:
    samples = [*(sample for case in CASES for sample in case.record()), *READ]
    with run_prometheus(samples, tmp_path_factory.mktemp("prometheus")) as api:
        yield api


def test_a_comparison_that_is_in_several_namespaces_has_lines_of_its_own_in_each(prometheus: PrometheusApi) -> None:
    lines = draw_lines(prometheus, "shared")

    assert lines == {
        "live-qwen3": [0.9, None, None],
        "live-qwen3 in x": [0.1, 0.2, 0.3],
        "live-qwen3 in y": [0.5, 0.6, None],
    }
    assert draw_lines(prometheus, "shared", namespace="y") == {"live-qwen3": [0.5, 0.6]}


def test_an_arm_has_a_row_in_each_namespace_and_one_without(prometheus: PrometheusApi) -> None:
    rows = {row["Namespace"]: row for row in read_table(prometheus, "shared", at=SOON)}

    assert {name: (row["State"], row["Best"], row["Exit code"], row["Remaining"]) for name, row in rows.items()} == {
        NO_NAMESPACE: ("failed", 0.9, 41, None),
        "x": ("running", 0.3, None, 30),
        "y": ("done", 0.6, 0, None),
    }
    (row,) = read_table(prometheus, "shared", namespace="x")
    assert row["Namespace"] == "x"


def test_where_nothing_has_a_namespace_everything_is_there(prometheus: PrometheusApi) -> None:
    assert draw_lines(prometheus, "local") == {"live-qwen3": [0.1, 0.2]}
    (row,) = read_table(prometheus, "local")
    assert (row["Namespace"], row["State"], row["Best"], row["Exit code"]) == (NO_NAMESPACE, "done", 0.2, 0)
    assert ask(prometheus, "Curve completeness", ["local"])["A"] == [({}, 1)]
    assert ask(prometheus, "Training step", ["local"], at=SOON)["A"] == [
        ({"comparison": "local", "arm": "live-qwen3"}, 1)
    ]


@pytest.mark.parametrize(("namespace", "expected"), [(ALL, {"one", "local"}), ("research", {"one"}), ("", {"local"})])
def test_comparisons_are_listed_by_namespace(prometheus: PrometheusApi, namespace: str, expected: set[str]) -> None:
    """Grafana leaves the variable empty, or at all, where it finds no namespace."""
    (variable,) = [each for each in load_dashboard()["templating"]["list"] if each["name"] == "comparison"]
    expression = variable["definition"].removeprefix("query_result(").removesuffix(")")
    panel = {"targets": [{"refId": "A", "expr": expression}]}
    (query,) = panel_queries(panel, {"job": ALL, "namespace": namespace}, DAY_SECONDS)

    listed = {labels["comparison"] for labels, _ in read_rows(prometheus.query(query.expression, at=LOOKED_AT))}
    assert listed & {"one", "local"} == expected


@pytest.mark.parametrize("title", ["Scrape age", "Store read age"])
def test_a_flow_side_that_is_gone_is_not_hidden_by_that_of_another_namespace(
    prometheus: PrometheusApi, title: str
) -> None:
    ages = ask(prometheus, title, ["one"], at=BEGAN + 100)["A"]

    assert {labels.get("namespace"): value for labels, value in ages} == {"research": 40, "x": 90, None: 20}


def test_an_arm_that_has_failed_is_counted_where_one_of_its_name_is_done_later(prometheus: PrometheusApi) -> None:
    assert ask(prometheus, "Failed arms", ["shared"])["A"] == [({}, 1)]

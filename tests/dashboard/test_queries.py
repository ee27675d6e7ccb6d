"""The dashboard's queries, asked of a real Prometheus a day after, and what Grafana's own transformations make of it.

Every case is a comparison of its own in one Prometheus. What was exposed is built by the contract that both sides use.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from asked_panels import DAY_SECONDS, LOOKED_AT, SOON, ask, draw, draw_lines, read_table
from grafana_panels import ALL, load_dashboard, panel_queries
from prometheus_api import PrometheusApi
from promtool import run_promtool
from recorded_arms import ASCENDING, BEGAN, Said
from recorded_prometheus import run_prometheus

pytestmark = pytest.mark.system

REFERENCE = (
    "live-qwen3",
    *(f"frozen-{name}" for name in ("qwen3", "llama3-2", "mistral", "smollm3", "gemma3", "qwen2-5")),
)


SHORT = ASCENDING[:5]
CASES = [
    Said(comparison="one"),
    *(
        Said(comparison="seven", arm=arm, mode=arm.partition("-")[0], pod=pod, state=state)
        for arm in REFERENCE[:-1]
        for pod, state in (("runner-1", "done"), (arm, None))
    ),
    Said(comparison="seven", arm=REFERENCE[-1], mode="frozen", curves={0: SHORT}, state="failed"),
    Said(comparison="seeds", curves={0: [0.25, 0.5, 0.75], 1: [0.75, 1.0]}, num_planned=3, state="running"),
    Said(comparison="lead", curves={0: [0.25, 0.5]}, state="running"),
    Said(comparison="lead", curves={0: [0.3, 0.6, 0.7]}, pod="first", state=None),
    Said(comparison="lead", curves={0: [0.3, 0.6, 0.8, 0.9]}, pod="second", state=None, at=BEGAN + 120),
    Said(comparison="restarted", curves={0: [0.9, 0.9, 0.9]}, state="running"),
    Said(comparison="restarted", curves={0: [0.1, 0.2]}, num_planned=2, pod="runner-2", at=BEGAN + 300),
    Said(comparison="named", arm="tickets", mode="live"),
    Said(comparison="named", arm="frozen-base", mode="live"),
    Said(comparison="named", arm="frozen-tickets", mode="frozen"),
    Said(comparison="gap", num_planned=16),
    Said(comparison="waiting", curves={}, state="queued"),
    Said(comparison="renamed", backbone="old", curves={0: [0.9] * 4}),
    Said(comparison="renamed", backbone="old", curves={0: [0.9] * 5}, pod="first", state=None),
    Said(comparison="renamed", backbone="new", curves={0: [0.1, 0.2]}, state="running", at=BEGAN + 600),
    Said(comparison="renamed", backbone="new", curves={0: [0.1, 0.2, 0.3]}, pod="next", state=None, at=BEGAN + 600),
    Said(comparison="silent", backbone="old", curves={0: [0.9] * 4}),
    Said(comparison="silent", backbone="new", curves={0: [0.1, 0.2]}, pod="next", state=None, at=BEGAN + 600),
    Said(comparison="cancelled", state="failed"),
    Said(comparison="cancelled", state="cancelled", at=BEGAN + 600),
    Said(comparison="again", state="running"),
    Said(comparison="again", state="running", seconds_left=None, at=BEGAN + 600),
]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusApi]:
    samples = [sample for case in CASES for sample in case.record()]
    with run_prometheus(samples, tmp_path_factory.mktemp("prometheus")) as api:
        yield api


def test_a_short_arm_has_no_points_where_it_has_not_come_to(prometheus: PrometheusApi) -> None:
    (frame,) = draw(prometheus, "$comparison", "seven")
    x, *lines = frame["fields"]

    assert (x["name"], x["type"], x["values"]) == ("training step", "number", list(range(12)))
    assert {line["name"] for line in lines} == set(REFERENCE)
    assert {line["type"] for line in lines} == {"number"}
    for line in lines:
        expected = [*SHORT, *[None] * 7] if line["name"] == REFERENCE[-1] else list(ASCENDING)
        assert line["values"] == expected


def test_one_arm_is_one_line(prometheus: PrometheusApi) -> None:
    assert draw_lines(prometheus, "one") == {"live-qwen3": list(ASCENDING)}


def test_seeds_are_one_line_of_means_over_those_that_have_come_so_far(prometheus: PrometheusApi) -> None:
    assert draw_lines(prometheus, "seeds") == {"live-qwen3": [0.5, 0.75, 0.75]}


def test_the_store_is_believed_first_and_then_the_worker_each_point_once(prometheus: PrometheusApi) -> None:
    assert draw_lines(prometheus, "lead") == {"live-qwen3": [0.25, 0.5, 0.8, 0.9]}


def test_what_an_earlier_runner_said_of_an_arm_counts_no_more(prometheus: PrometheusApi) -> None:
    assert draw_lines(prometheus, "restarted") == {"live-qwen3": [0.1, 0.2]}
    (row,) = read_table(prometheus, "restarted", at=BEGAN + 330)
    assert (row["State"], row["Accuracy"], row.get("Remaining")) == ("done", 0.2, None)


def test_an_arm_of_another_backbone_has_nothing_from_the_worker_of_the_old_one(prometheus: PrometheusApi) -> None:
    assert draw_lines(prometheus, "renamed") == {"live-qwen3": [0.1, 0.2, 0.3]}
    (row,) = read_table(prometheus, "renamed")
    assert (row["Backbone"], row["State"], row["Step"], row["Best"]) == ("new", "running", 1, 0.3)


def test_a_worker_of_another_backbone_is_drawn_alone_while_the_flow_side_is_silent(prometheus: PrometheusApi) -> None:
    assert draw_lines(prometheus, "silent") == {"live-qwen3": [0.1, 0.2]}
    (row,) = read_table(prometheus, "silent")
    assert (row["Backbone"], row["State"], row["Best"]) == ("old", "done", 0.9)


@pytest.mark.parametrize(("at", "step"), [(BEGAN + 30, 1), (BEGAN + 150, 3)], ids=["the store", "a worker alone"])
def test_the_training_step_is_the_stores_and_a_workers_where_the_store_has_none(
    prometheus: PrometheusApi, at: int, step: int
) -> None:
    assert [value for _, value in ask(prometheus, "Training step", ["lead"], at=at)["A"]] == [step]


def test_an_arm_that_was_cancelled_has_no_exit_code_of_its_failure_before(prometheus: PrometheusApi) -> None:
    (row,) = read_table(prometheus, "cancelled")
    assert (row["State"], row.get("Exit code")) == ("cancelled", None)


def test_an_arm_whose_name_does_not_say_its_mode_is_told_apart_by_it(prometheus: PrometheusApi) -> None:
    assert set(draw_lines(prometheus, "named")) == {"tickets (live)", "frozen-base (live)", "frozen-tickets"}


@pytest.mark.parametrize("comparison", ["nobody", "waiting"])
def test_where_there_is_no_point_the_panel_has_none_and_no_error(prometheus: PrometheusApi, comparison: str) -> None:
    assert [frame["fields"] for frame in draw(prometheus, "$comparison", comparison)] == [[]]


def test_modes_and_backbones_can_be_chosen(prometheus: PrometheusApi) -> None:
    (frame,) = draw(prometheus, "$comparison", "seven", mode="live", backbone="Qwen/Qwen3-1.7B-Base")
    assert [each["name"] for each in frame["fields"]] == ["training step", "live-qwen3"]
    assert draw(prometheus, "$comparison", "seven", backbone="Qwen/Qwen3-1x7B-Base")[0]["fields"] == []


def test_the_standings_have_one_row_for_each_arm_of_all_comparisons_that_are_chosen(prometheus: PrometheusApi) -> None:
    rows = read_table(prometheus, "seven", "seeds", "waiting")

    assert len(rows) == 9
    states = {(row["Comparison"], row["Arm"]): row["State"] for row in rows}
    assert states["seven", "frozen-qwen2-5"] == "failed"
    assert states["seeds", "live-qwen3"] == "running"
    assert states["waiting", "live-qwen3"] == "queued"
    assert list(states.values()).count("done") == 6


def test_a_row_of_the_standings_says_how_far_and_how_good(prometheus: PrometheusApi) -> None:
    (row,) = read_table(prometheus, "seeds", at=SOON)

    assert (row["Step"], row["Accuracy"], row["Best"]) == (1.5, 0.875, 0.75)
    assert (row["Progress"], row["Queued"], row["Attempts"], row["Remaining"]) == (1, 1, 1, 30)
    assert (row["Mode"], row["Backbone"], row["Last news"]) == ("live", "Qwen/Qwen3-1.7B-Base", BEGAN * 1000)


def test_only_arms_that_have_ended_have_an_exit_code_and_only_those_that_run_an_estimate(
    prometheus: PrometheusApi,
) -> None:
    rows = {row["State"]: row for row in read_table(prometheus, "seven", "seeds", "waiting", at=SOON)}

    assert {state: row["Exit code"] for state, row in rows.items()} == {
        "done": 0,
        "failed": 41,
        "running": None,
        "queued": None,
    }
    assert {state for state, row in rows.items() if row["Remaining"] is not None} == {"running"}


def test_an_estimate_is_shown_only_while_the_flow_side_makes_it(prometheus: PrometheusApi) -> None:
    moments = [SOON, BEGAN + 660, LOOKED_AT]
    rows = [read_table(prometheus, "again", at=at) for at in moments]

    assert [(row["State"], row.get("Remaining")) for (row,) in rows] == [
        ("running", 30),
        ("running", None),
        ("running", None),
    ]


@pytest.mark.parametrize(
    ("title", "comparisons", "value"),
    [
        ("Failed arms", ["seven", "seeds"], 1),
        ("Failed arms", ["one", "restarted"], 0),
        ("Curve completeness", ["one", "seven", "seeds"], 1),
        ("Curve completeness", ["one", "gap"], 0.75),
        ("Dropped points", ["seven"], 0),
    ],
)
def test_health_is_told_of_what_is_chosen(
    prometheus: PrometheusApi, title: str, comparisons: list[str], value: float
) -> None:
    assert [found for _, found in ask(prometheus, title, comparisons)["A"]] == [value]


def test_without_any_arm_health_says_nothing_rather_than_that_all_is_well(prometheus: PrometheusApi) -> None:
    for title in ("Failed arms", "Curve completeness", "Dropped points"):
        assert ask(prometheus, title, ["nobody"])["A"] == []


def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    values = {"job": ALL, "namespace": ALL, "comparison": ["a.b", "c"], "backbone": ALL, "mode": "live"}
    expressions = [
        query.expression for panel in load_dashboard()["panels"] for query in panel_queries(panel, values, DAY_SECONDS)
    ]
    rules = [{"record": f"query_{number}", "expr": text} for number, text in enumerate(expressions)]
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")

    checked = run_promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(expressions)} rules found" in checked.stdout

"""Rules that the dashboard keeps: those of Grafana's dashboard-linter, also for Trend panels, which it skips."""

import itertools
import json
import re
from typing import Any

import pytest

from grafana_panels import DASHBOARD, Panel, load_dashboard, panel_queries

MEBIBYTE = 1024**2
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

OF_NOW = "freeze_bench_arm_remaining_seconds"
"""An estimate that nobody renews any more says nothing: this metric alone is asked for as it is at the range's end."""

dashboard = load_dashboard()
PANELS: list[Panel] = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
TARGETS = [(panel, target) for panel in PANELS for target in panel["targets"]]
VARIABLES: list[dict[str, Any]] = dashboard["templating"]["list"]
QUERIED = [each for each in VARIABLES if each["type"] == "query"]

for_each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
for_each_target = pytest.mark.parametrize(
    ("panel", "target"), TARGETS, ids=[f"{panel['title']} {target['refId']}" for panel, target in TARGETS]
)
for_each_variable = pytest.mark.parametrize("variable", QUERIED, ids=lambda variable: variable["name"])


def test_it_has_one_address_and_nobody_edits_it_in_place() -> None:
    assert (dashboard["uid"], dashboard["editable"]) == ("freeze-bench", False)
    assert "id" not in dashboard
    assert dashboard["title"] == "freeze-bench: accuracy of frozen and live backbones"


def test_it_needs_no_import_dialog() -> None:
    """What a person chooses when importing is resolved nowhere else, so that a sidecar's dashboard would be empty."""
    assert not {"__inputs", "__requires", "__elements"} & set(dashboard)
    assert "${DS_" not in DASHBOARD.read_text("utf-8")


def test_its_form_is_one_that_every_grafana_from_the_named_version_on_reads() -> None:
    assert 39 <= dashboard["schemaVersion"] <= 41
    assert "Grafana 10.4 or later" in dashboard["description"]


def test_it_fits_a_config_map() -> None:
    assert len(DASHBOARD.read_bytes()) < MEBIBYTE / 2


def test_it_is_written_as_grafana_exports_it() -> None:
    assert DASHBOARD.read_text("utf-8") == json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    cells = [cell for panel in dashboard["panels"] for cell in cells_of(panel["gridPos"])]

    assert len(ids) == len(set(ids))
    assert len(cells) == len(set(cells))
    assert all(0 <= x < 24 for x, _ in cells)


def test_there_are_the_four_rows() -> None:
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]

    assert rows == ["Comparison", "Standings", "Progress and throughput", "Health"]


@for_each_panel
def test_a_panel_says_what_it_shows_in_which_unit_and_from_where(panel: Panel) -> None:
    defaults, overrides = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["overrides"]
    units = [each["value"] for override in overrides for each in override["properties"] if each["id"] == "unit"]

    assert panel["title"]
    assert len(panel["description"]) > 40
    assert panel["datasource"] == DATA_SOURCE
    assert "unit" in defaults or units
    assert panel["targets"]


@for_each_panel
def test_a_ratio_is_shown_as_one_and_a_time_as_one(panel: Panel) -> None:
    text = json.dumps(panel["fieldConfig"])
    names = " ".join(re.findall(r"freeze_bench_\w+", str([target["expr"] for target in panel["targets"]])))

    assert ("_ratio" in names) <= ("percentunit" in text)
    assert "percent" not in text.replace("percentunit", "")


@for_each_target
def test_a_query_asks_the_chosen_data_source_jobs_and_namespaces_alone(panel: Panel, target: dict[str, Any]) -> None:
    selectors = re.findall(r"freeze_bench_\w+(\{[^}]*\})?", target["expr"])

    assert panel["title"]
    assert target["datasource"] == DATA_SOURCE
    assert selectors
    assert [each for each in selectors if not each.startswith('{job=~"$job",namespace=~"$namespace"')] == []


@for_each_target
def test_a_query_still_answers_when_its_pods_are_gone(panel: Panel, target: dict[str, Any]) -> None:
    """A plain selector finds nothing once a target has gone; every one here looks back over a range."""
    selector = re.compile(r"(freeze_bench_\w+)\{[^}]*\}(\)?)(\[[^\]]+\])?")
    ranges = [match[3] for match in selector.finditer(target["expr"]) if match[1] != OF_NOW]

    instant = {"[$__range]", "[$__range:30s]"}
    assert set(ranges) <= (instant if target["instant"] else {"[$__rate_interval]"}), panel["title"]
    assert target["instant"] is not target["range"]


@for_each_target
def test_no_query_takes_a_pod_for_an_arm(panel: Panel, target: dict[str, Any]) -> None:
    grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])

    assert panel["title"]
    assert [each for each in grouped if {"instance", "pod"} & set(each.split(", "))] == []


@for_each_target
def test_no_query_takes_arms_of_two_namespaces_for_one(panel: Panel, target: dict[str, Any]) -> None:
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", target["expr"])
    of_arms = [set(each.split(", ")) for each in grouped if re.search(r"\b(comparison|instance)\b", each)]

    within = [{"comparison"}] if panel["type"] == "trend" else []  # there it asks in how many a comparison is
    assert [each for each in of_arms if "namespace" not in each and each not in within] == []
    if target.get("legendFormat") != "__auto":
        assert "{{namespace}}" in target["legendFormat"]


def test_every_variable_that_is_used_is_declared() -> None:
    declared = {each["name"] for each in VARIABLES}
    used = set(re.findall(r"\$\{?([a-z]\w+)", json.dumps(dashboard)))

    assert used == declared
    assert declared == {"datasource", "job", "namespace", "comparison", "backbone", "mode"}


def test_every_query_can_be_filled_in() -> None:
    values = {"job": "a", "namespace": "n", "comparison": "b", "backbone": "c", "mode": "d"}
    filled = [query.expression for panel in PANELS for query in panel_queries(panel, values, 60)]

    assert [each for each in filled if re.search(r"\$[a-zA-Z_{]", each)] == []


def test_the_data_source_is_chosen_by_whoever_looks() -> None:
    (variable,) = (each for each in VARIABLES if each["type"] == "datasource")

    assert (variable["name"], variable["label"], variable["query"]) == ("datasource", "Data source", "prometheus")


@for_each_variable
def test_a_variable_follows_the_time_range_and_may_have_several_values(variable: dict[str, Any]) -> None:
    assert variable["datasource"] == DATA_SOURCE
    assert variable["refresh"] == 2
    assert variable["multi"] is True
    assert variable["definition"] == variable["query"]["query"]


@for_each_variable
def test_a_variable_that_is_not_restricted_means_all(variable: dict[str, Any]) -> None:
    if variable["name"] == "comparison":
        assert variable["includeAll"] is False
    else:
        # Every target has a job, and every arm a backbone; but on a machine without a cluster nothing has a namespace.
        assert (variable["includeAll"], variable["allValue"]) == (
            True,
            ".*" if variable["name"] == "namespace" else ".+",
        )
        assert variable["current"]["value"] == ["$__all"]


def test_the_newest_comparison_comes_first() -> None:
    (variable,) = (each for each in QUERIED if each["name"] == "comparison")
    listed = ['{comparison="tickets"} 1763993000 1763993100000', '{comparison="demo"} 1763990000 1763993100000']

    assert "sort_desc" in variable["definition"]
    assert variable["sort"] == 0, "as the query orders them"
    pattern = re.compile(variable["regex"].strip("/"))
    assert [match[1] for match in map(pattern.search, listed) if match] == ["tickets", "demo"]


def test_every_comparison_has_curves_of_its_own() -> None:
    trends = [panel for panel in PANELS if panel["type"] == "trend"]

    assert [(panel["repeat"], panel["repeatDirection"]) for panel in trends] == [("comparison", "v")]


def cells_of(position: dict[str, int]) -> list[tuple[int, int]]:
    """Return the cells of the grid that a panel covers."""
    columns = range(position["x"], position["x"] + position["w"])
    return list(itertools.product(columns, range(position["y"], position["y"] + position["h"])))

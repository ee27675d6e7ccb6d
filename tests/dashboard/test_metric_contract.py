"""Whatever dashboard and rules ask for is exposed: metrics, labels, and values of labels that are words."""

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from grafana_panels import ROOT, load_dashboard
from worker.contract.arms import Mode
from worker.contract.metric_names import METRIC_NAMES, PHASES, SERIES_LABELS, STATES
from worker.contract.metric_spec import Source

RULES = ROOT / "charts" / "files" / "rules" / "freeze-bench.yaml"

TARGET_LABELS = {"job", "instance", "namespace"}
"""What Prometheus adds by the scrape configs of docs/operations.md."""

MADE_LABELS = {"line", "where", "le"}
"""What a query makes, and the bucket's bound."""

WORDS = {"state": STATES, "phase": PHASES, "source": tuple(Source), "mode": tuple(Mode)}
"""Labels whose values are known beforehand."""


def read_expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression of dashboard and rules, with its place."""
    dashboard = load_dashboard()
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"${variable['name']}", variable["definition"]
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


EXPRESSIONS = dict(read_expressions())
RECORDED = {place for place in EXPRESSIONS if ":" in place}

for_each_expression = pytest.mark.parametrize("place", EXPRESSIONS)


@for_each_expression
def test_every_metric_is_one_that_is_exposed(place: str) -> None:
    names = set(re.findall(r"(?<![\w:])(?:\w+:)?freeze_bench_\w+(?::\w+)?", EXPRESSIONS[place]))

    assert names
    assert names - set(SERIES_LABELS) - RECORDED == set()


@for_each_expression
def test_every_label_that_selects_is_one_of_its_metric(place: str) -> None:
    for name, selector in re.findall(r"(freeze_bench_\w+)\{([^}]*)\}", EXPRESSIONS[place]):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert labels - set(SERIES_LABELS[name]) - TARGET_LABELS == set(), name


@for_each_expression
def test_every_label_that_groups_is_one_of_some_metric_in_it(place: str) -> None:
    expression = EXPRESSIONS[place]
    known = {label for name, labels in SERIES_LABELS.items() if name in expression for label in labels}
    known |= {label for name in RECORDED if name in expression for label in RUN_OF_RECORDED[name]}
    grouping = re.findall(r"\b(?:by|on|ignoring|without) \(([^)]*)\)", expression)

    used = {label for each in grouping for label in each.split(", ") if label}
    assert used - known - TARGET_LABELS - MADE_LABELS == set()


RUN_OF_RECORDED = {
    name: re.findall(r"\w+", re.search(r"\b(?:by|on) \(([^)]*)\)", EXPRESSIONS[name])[1])  # type: ignore[index] # each has one
    for name in RECORDED
}


@for_each_expression
@pytest.mark.parametrize("label", WORDS)
def test_every_word_that_selects_is_one_that_the_label_can_have(place: str, label: str) -> None:
    for operator, value in re.findall(rf'\b{label}(=~|!~|!=|=)"([^"$]*)"', EXPRESSIONS[place]):
        words = value.split("|") if operator.endswith("~") else [value]
        assert set(words) <= set(WORDS[label])


def test_the_standings_have_a_colour_for_every_state() -> None:
    (table,) = (panel for panel in load_dashboard()["panels"] if panel["type"] == "table")
    (override,) = (each for each in table["fieldConfig"]["overrides"] if each["matcher"]["options"] == "State")
    (mapping,) = (each for each in override["properties"] if each["id"] == "mappings")

    assert tuple(mapping["value"][0]["options"]) == STATES


def test_what_is_exposed_and_shown_nowhere_is_left_out_on_purpose() -> None:
    """Steps are shown by how long they take; their number is for queries of one's own."""
    asked = json.dumps(list(EXPRESSIONS.values()))

    assert {name for name in METRIC_NAMES if name not in asked} == {"freeze_bench_optimizer_steps_total"}

"""How lines look: told apart by mode without colour, and in the colours of the reference chart."""

import re
from typing import Any

import pytest

from flows.plot import REFERENCE_COLOURS
from grafana_panels import Panel, load_dashboard
from worker.contract.records import slug

PANELS: list[Panel] = load_dashboard()["panels"]


def test_the_curves_are_one_table_with_a_numeric_step() -> None:
    """A second query would rename the column that the transformations look for."""
    curves = find_curves()

    assert [(each["format"], each["instant"]) for each in curves["targets"]] == [("table", True)]
    assert curves["options"]["xField"] == "training step"
    renamed = curves["transformations"][-1]["options"]["renameByName"]
    assert renamed == {"step\\line": "training step"}


def test_the_x_axis_takes_no_bound_or_unit_from_the_arms() -> None:
    """Trend's x axis is a field like the others: what stands in the defaults would hold for it, too."""
    curves = find_curves()

    assert not {"min", "max", "unit"} & set(curves["fieldConfig"]["defaults"])
    assert not applied_to(curves, "training step") & {"min", "max", "custom.lineStyle"}


@pytest.mark.parametrize(
    "line", ["live-qwen3", "tickets (live)", "live (live)", "frozen-base (live)", "live-a in x", "tickets (live) in x"]
)
def test_a_live_arm_is_a_thick_solid_line(line: str) -> None:
    assert {"min", "max", "unit", "custom.lineWidth"} <= applied_to(find_curves(), line)
    assert value_of(find_curves(), line, "custom.lineStyle") == {"fill": "solid"}


@pytest.mark.parametrize(
    "line",
    [
        "frozen-qwen3",
        "tickets (frozen)",
        "frozen (frozen)",
        "live-base (frozen)",
        "frozen-a in x",
        "tickets (frozen) in x",
    ],
)
def test_a_frozen_arm_is_a_dashed_line(line: str) -> None:
    assert {"min", "max", "unit"} <= applied_to(find_curves(), line)
    assert "custom.lineWidth" not in applied_to(find_curves(), line)
    assert value_of(find_curves(), line, "custom.lineStyle") == {"fill": "dash", "dash": [10, 6]}


@pytest.mark.parametrize(("label", "colour"), REFERENCE_COLOURS.items())
def test_an_arm_of_the_reference_has_its_colour_everywhere(label: str, colour: str) -> None:
    fixed = {"mode": "fixed", "fixedColor": colour}

    assert value_of(find_curves(), slug(label), "color") == fixed
    for panel in (each for each in PANELS if each["type"] == "timeseries"):
        assert value_of(panel, f"demo {slug(label)}", "color") == fixed
        assert value_of(panel, f"demo other-{slug(label)}", "color") is None


def test_an_arm_keeps_its_colour_when_others_are_hidden() -> None:
    for panel in (each for each in PANELS if each["type"] in {"trend", "timeseries"}):
        assert panel["fieldConfig"]["defaults"]["color"] == {"mode": "palette-classic-by-name"}


def find_curves() -> Panel:
    """Return the panel of the curves."""
    (panel,) = (each for each in PANELS if each["type"] == "trend")
    return panel


def matching(panel: Panel, field: str) -> list[dict[str, Any]]:
    """Return the properties that overrides give to a field, in their order."""
    found = []
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        assert matcher["id"] in {"byName", "byRegexp"}
        is_name = matcher["id"] == "byName"
        if matcher["options"] == field if is_name else re.search(matcher["options"].strip("/"), field):
            found += override["properties"]
    return found


def applied_to(panel: Panel, field: str) -> set[str]:
    """Return the names of the properties that overrides give to a field."""
    return {each["id"] for each in matching(panel, field)}


def value_of(panel: Panel, field: str, name: str) -> object:
    """Return the value of one of them; the last override wins, as in Grafana."""
    values = [each["value"] for each in matching(panel, field) if each["id"] == name]
    return values[-1] if values else None

"""Grafana's typed SDK reads the dashboard and writes it again: what it does not know, such as a typo, is lost."""

import json
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana_panels import load_dashboard

NOT_IN_THE_SDK = {"definition"}
"""What Grafana writes itself, and its schema for 11.6 leaves out: how a variable's query reads in the list."""

NOTHING: tuple[object, ...] = (None, "", [], {})
"""What may as well be absent; a zero may not."""


def test_a_round_trip_loses_nothing() -> None:
    dashboard = load_dashboard()

    assert set(find_lost(dashboard, round_trip(dashboard), "")) == set()


def test_a_word_that_grafana_does_not_know_is_lost() -> None:
    dashboard = load_dashboard()
    (trend,) = (panel for panel in dashboard["panels"] if panel["type"] == "trend")
    trend["options"]["xfield"] = trend["options"].pop("xField")
    trend["fieldConfig"]["defaults"]["custom"]["spanNull"] = True

    lost = set(find_lost(dashboard, round_trip(dashboard), ""))
    assert {place.rpartition("/")[2] for place in lost} == {"xfield", "spanNull"}


def round_trip(dashboard: dict[str, Any]) -> dict[str, Any]:
    """Return what the SDK writes of what it has read."""
    register_default_plugins()
    written: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))
    return written


def find_lost(before: Any, after: Any, place: str) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield the place of everything that is not what it was; what holds nothing may be left out."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in NOT_IN_THE_SDK or (key not in after and value in NOTHING):
                continue
            if key in after:
                yield from find_lost(value, after[key], f"{place}/{key}")
            else:
                yield f"{place}/{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from find_lost(one, other, f"{place}/{index}")
    elif before != after:
        yield place

"""Panels of the dashboard, asked of a Prometheus over a day and drawn as Grafana would."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_panels import ALL, Frame, find_panel, load_dashboard, panel_queries, to_frames
from prometheus_api import PrometheusApi, read_rows
from recorded_arms import BEGAN

DAY_SECONDS = 24 * 60 * 60

LOOKED_AT = BEGAN + 20 * 60 * 60
"""When most panels are asked: every pod has been gone for long."""

SOON = BEGAN + 90
"""While what was said at first is still fresh."""


def ask(
    prometheus: PrometheusApi, title: str, comparisons: Sequence[str], *, at: int = LOOKED_AT, **chosen: str
) -> dict[str, list[tuple[Mapping[str, str], float]]]:
    """Return what every query of a panel finds, by its reference."""
    answers = _ask_all(prometheus, title, {**chosen, "comparison": comparisons}, at)
    return {reference: read_rows(data) for reference, data in answers.items()}


def draw(prometheus: PrometheusApi, title: str, *comparisons: str, at: int = LOOKED_AT, **chosen: str) -> list[Frame]:
    """Return the frames that a panel draws of comparisons."""
    panel = find_panel(load_dashboard(), title)
    return to_frames(panel, _ask_all(prometheus, title, {**chosen, "comparison": comparisons}, at))


def draw_lines(prometheus: PrometheusApi, comparison: str, **chosen: str) -> dict[str, list[float | None]]:
    """Return the lines of the panel of curves, by name."""
    (frame,) = draw(prometheus, "$comparison", comparison, at=LOOKED_AT, **chosen)
    return {line["name"]: line["values"] for line in frame["fields"][1:]}


def read_table(
    prometheus: PrometheusApi, *comparisons: str, at: int = LOOKED_AT, **chosen: str
) -> list[dict[str, Any]]:
    """Return the rows of the standings, by heading."""
    (frame,) = draw(prometheus, "Standings", *comparisons, at=at, **chosen)
    columns = [(column["name"], column["values"]) for column in frame["fields"]]
    return [{name: values[row] for name, values in columns} for row in range(len(columns[0][1]))]


def _ask_all(
    prometheus: PrometheusApi, title: str, chosen: Mapping[str, str | Sequence[str]], at: int
) -> dict[str, dict[str, Any]]:
    variables = {"job": ALL, "namespace": ALL, "backbone": ALL, "mode": ALL, **chosen}
    queries = panel_queries(find_panel(load_dashboard(), title), variables, DAY_SECONDS)
    return {query.ref_id: prometheus.query(query.expression, at=at) for query in queries}

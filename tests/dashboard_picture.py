"""A picture of what Grafana's Trend panel is given: the dashboard's own query and transformations, drawn by its rules.

    PYTHONPATH=tests .venv/bin/python -m dashboard_picture http://127.0.0.1:9090 demo docs/dashboard-frames.png

Needs a Prometheus that has the comparison, and Node for Grafana's transformations. It is no screenshot, and the picture
says so itself: fonts, spacing and the list of arms are matplotlib's; lines, colours, dashes, axes and units are the
panel's.
"""

import argparse
import io
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from grafana_panels import ALL, Frame, Panel, find_panel, load_dashboard, panel_queries, to_frames
from prometheus_api import Data, PrometheusApi, PrometheusError

Field = Mapping[str, Any]

DAY_SECONDS = 24 * 60 * 60
POINTS_PER_PIXEL = 0.75
"""Of a browser's pixel, 1/96 inch; matplotlib measures lines in points of 1/72."""

CAPTION = (
    "Not a screenshot of Grafana: the frame that the dashboard's query and transformations give for {comparison},\n"
    "drawn by the rules of Grafana's Trend panel."
)


class PanelError(Exception):
    """The panel would show an error instead of lines, or is configured in a way that is not known here."""


@dataclass(frozen=True)
class Line:
    """One field of the frame as the panel draws it."""

    name: str
    steps: list[float]
    values: list[float]
    colour: str | None
    """None where the panel takes the next of its palette."""
    width: float
    """Pixels."""
    dash: tuple[float, ...]
    """Pixels drawn and left out in turn; empty for a solid line."""


def find_curves_panel() -> Panel:
    """Return the panel with the curves: the dashboard repeats it for each comparison, and it is titled after that."""
    return find_panel(load_dashboard(), "$comparison")


def ask_panel(api: PrometheusApi, panel: Panel, comparison: str, at: float | None = None) -> dict[str, Data]:
    """Ask the queries of a panel about one comparison with all its arms, over a day, and return an answer for each."""
    variables = {"job": ALL, "namespace": ALL, "comparison": comparison, "backbone": ALL, "mode": ALL}
    queries = panel_queries(panel, variables, DAY_SECONDS)
    return {query.ref_id: api.query(query.expression, at) for query in queries}


def resolve_settings(panel: Panel, field: Field) -> dict[str, Any]:
    """Return a field's settings by their dotted names: the panel's defaults, and over them each override that matches.

    Raises:
        PanelError: An override chooses its fields in a way that is not known here.
    """
    config = panel["fieldConfig"]
    settings = {f"custom.{name}": value for name, value in config["defaults"].get("custom", {}).items()}
    settings |= {name: value for name, value in config["defaults"].items() if name != "custom"}
    for override in config["overrides"]:
        if _matches(override["matcher"], field):
            settings |= {each["id"]: each["value"] for each in override["properties"]}
    return settings


def split_frame(panel: Panel, frames: Sequence[Frame]) -> tuple[Field, list[Field]]:
    """Return the x field and the fields that become lines.

    Raises:
        PanelError: The panel would refuse these frames.

    Source:
        Grafana 11.6, public/app/plugins/panel/trend/TrendPanel.tsx.
    """
    if len(frames) != 1:
        raise PanelError(f"The panel has {len(frames)} frames, and draws one only.")
    numeric = [field for field in frames[0]["fields"] if field["type"] == "number"]
    wanted = panel["options"].get("xField")
    x = next((field for field in numeric if wanted in (None, field["name"])), None)
    if x is None:
        raise PanelError(f"No numeric field is named {wanted!r}.")
    steps = x["values"]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise PanelError(f"The values of {x['name']} do not ascend.")
    return x, [field for field in numeric if field is not x]


def build_lines(panel: Panel, frames: Sequence[Frame]) -> list[Line]:
    """Return the lines of the panel, in the order of the frame.

    Raises:
        PanelError: The panel would refuse these frames.
    """
    x, fields = split_frame(panel, frames)
    return [_build_line(x["values"], field, resolve_settings(panel, field)) for field in fields]


def _build_line(steps: Sequence[float], field: Field, settings: Mapping[str, Any]) -> Line:
    points = list(zip(steps, field["values"], strict=True))
    if settings.get("custom.spanNulls"):
        points = [(step, value) for step, value in points if value is not None]
    colour, style = settings.get("color", {}), settings.get("custom.lineStyle", {})
    return Line(
        name=field["name"],
        steps=[step for step, _ in points],
        values=[math.nan if value is None else value for _, value in points],  # at which a line is left open
        colour=colour.get("fixedColor") if colour.get("mode") == "fixed" else None,
        width=settings.get("custom.lineWidth", 1),
        dash=tuple(style.get("dash", ())) if style.get("fill") == "dash" else (),
    )


def draw_panel(panel: Panel, frames: Sequence[Frame], title: str, caption: str) -> Figure:
    """Draw lines, axes and units as the panel has them, with the caption below.

    Raises:
        PanelError: The panel would refuse these frames.
    """
    figure = Figure(figsize=(10, 5), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.08, 0.2, 0.66, 0.7))
    axes.margins(x=0)
    for line in build_lines(panel, frames):
        width = line.width * POINTS_PER_PIXEL
        dashes = tuple(pixels * POINTS_PER_PIXEL / width for pixels in line.dash)  # matplotlib counts in line widths
        style: Any = (0, dashes) if dashes else "-"
        axes.plot(line.steps, line.values, label=line.name, color=line.colour, linewidth=width, linestyle=style)
    _set_scales(axes, *(resolve_settings(panel, field) for field in _axis_fields(panel, frames)))
    axes.set_title(title, loc="left")
    axes.grid(visible=True, color="#e3e3e3", linewidth=0.7)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, handlelength=4)
    figure.text(0.02, 0.02, caption, fontsize=8, color="#444444")
    return figure


def _axis_fields(panel: Panel, frames: Sequence[Frame]) -> tuple[Field, Field]:
    """Return the fields whose settings the axes have: x, and the first that is a line."""
    x, fields = split_frame(panel, frames)
    return x, (fields or [x])[0]


def _set_scales(axes: Axes, x: Mapping[str, Any], y: Mapping[str, Any]) -> None:
    axes.set_xlabel(x.get("custom.axisLabel", ""))
    axes.set_ylabel(y.get("custom.axisLabel", ""))
    axes.set_xlim(x.get("min"), x.get("max"))
    axes.set_ylim(y.get("min"), y.get("max"))
    if y.get("unit") == "percentunit":
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))


def _matches(matcher: Mapping[str, Any], field: Field) -> bool:
    match matcher["id"]:
        case "byName":
            return bool(field["name"] == matcher["options"])
        case "byType":
            return bool(field["type"] == matcher["options"])
        case "byRegexp":
            written = re.fullmatch(
                r"/(.*)/([a-z]*)", matcher["options"]
            )  # as JavaScript has it, or the expression alone
            pattern, flags = (written[1], written[2]) if written else (f"^{matcher['options']}$", "")
            return bool(re.search(pattern, field["name"], re.IGNORECASE if "i" in flags else 0))
        case other:
            raise PanelError(f"An override matches its fields {other!r}, which is not known here: add it.")


def main() -> None:
    """Draw the picture that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m dashboard_picture", description=__doc__)
    parser.add_argument("address", help="of Prometheus, such as http://127.0.0.1:9090")
    parser.add_argument("comparison", help="the comparison's name in metrics, such as demo")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    arguments = parser.parse_args()
    panel = find_curves_panel()
    try:
        frames = to_frames(panel, ask_panel(PrometheusApi(arguments.address), panel, arguments.comparison))
        figure = draw_panel(panel, frames, arguments.comparison, CAPTION.format(comparison=arguments.comparison))
    except (PanelError, PrometheusError) as error:
        sys.exit(str(error))
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    arguments.picture.write_bytes(content.getvalue())


if __name__ == "__main__":
    main()

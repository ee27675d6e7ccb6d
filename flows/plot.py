"""The chart: accuracy against step, one line per arm, for colour and for grey print.

Pure: a comparison in, lines on axes or bytes out. Uses matplotlib's object interface and built-in defaults alone, so
that neither an open pyplot figure nor a reader's matplotlibrc changes the picture.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from flows.comparison import ArmSummary, Comparison
from worker.contract.arms import Mode

REFERENCE_COLOURS = {
    "Live Qwen3": "#ff7f0e",  # orange
    "Frozen Qwen3": "#1f77b4",  # blue
    "Frozen Llama3.2": "#2ca02c",  # green
    "Frozen Mistral": "#e377c2",  # pink
    "Frozen SmolLM3": "#9467bd",  # purple
    "Frozen Gemma3": "#17becf",  # cyan
    "Frozen Qwen2.5": "#7f7f7f",  # gray
}
"""Colours of the reference chart, by label; the shades are those of matplotlib's tab10."""

COLOUR_CYCLE = (
    "#bd1f01",
    "#3f90da",
    "#ffa90e",
    "#832db6",
    "#a96b59",
    "#94a4a2",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
"""Colours of other labels, told apart with any colour vision.

Source: M. Petroff, Accessible Color Sequences for Data Visualization, arXiv:2107.02270, ten-colour sequence; reordered.
"""

_DASHES = ((5, 1.2), (1.6, 1.1), (7, 1.2, 1.6, 1.2), (3, 1.2), (9, 1.4), (5, 1.1, 1.4, 1.1, 1.4, 1.1))  # line widths
_MARKERS = ("o", "s", "^", "D", "v")  # filled at the first turn, hollow at the second
_MARKERS_ACROSS = 6  # on a line as long as the x axis
_LIVE_WIDTH, _FROZEN_WIDTH = 2.6, 1.3  # points
_MISSING_COLOUR = "#8a8a8a"
_NEAR = 0.06  # squared distance of two RGB colours from 0 to 1 that one legend had better not hold both of

_REFERENCE_STEPS = 120  # right end of the reference chart's x axis
_MOST_STEP_INTERVALS = 6
_ROUND_NUMBERS = (1, 2, 2.5, 5, 10, 20)

_TALL_LEGEND = 8  # entries; more in one column reach up into the curves
_WIDE_LABEL = 28  # characters; two columns of longer ones do not fit
_TEXT_SIZE, _LEGEND_SIZE, _CAPTION_SIZE = 10.5, 8.5, 7.5  # points
_FIGURE_WIDTH, _AXES_HEIGHT = 7.2, 4.2  # inches
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.68, 0.18, 0.15, 0.52  # inches around the axes, without the caption
_MARGIN = 0.12  # inches below the caption
_CAPTION_LEADING = 1.35  # line height over text size
_MEAN_CHARACTER_WIDTH = 0.545  # of DejaVu Sans, over text size
_POINTS_PER_INCH = 72
_CAPTION_LINE_HEIGHT = _CAPTION_SIZE * _CAPTION_LEADING / _POINTS_PER_INCH  # inches
_PNG_DOTS_PER_INCH = 200

_RC_PARAMS: Any = {  # matplotlib's stubs name every key; a dict built here is not known to hold only those
    **{key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"},
    "font.size": _TEXT_SIZE,
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so it is the same everywhere
    "svg.hashsalt": "freeze-bench",  # ids in the file are random without it
    "svg.fonttype": "path",
}


def render_comparison(comparison: Comparison) -> dict[str, bytes]:
    """Draw the chart as files.

    Returns:
        Bytes of ``comparison.png`` and ``comparison.svg``; the same for the same comparison and matplotlib.
    """
    with mpl.rc_context(_RC_PARAMS):
        width = _FIGURE_WIDTH - _LEFT - _RIGHT
        bottom = _BOTTOM + len(_wrap(comparison.caption, width)) * _CAPTION_LINE_HEIGHT + _MARGIN
        height = bottom + _AXES_HEIGHT + _TOP
        figure = Figure(figsize=(_FIGURE_WIDTH, height), facecolor="white")
        FigureCanvasAgg(figure)
        rectangle = (_LEFT / _FIGURE_WIDTH, bottom / height, width / _FIGURE_WIDTH, _AXES_HEIGHT / height)
        plot_comparison(comparison, figure.add_axes(rectangle))
        return {
            "comparison.png": _save(figure, "png", {"Software": None}),
            "comparison.svg": _save(figure, "svg", {"Date": None, "Creator": None}),
        }


def plot_comparison(comparison: Comparison, axes: Axes) -> Axes:
    """Draw the mean curve of every arm on ``axes``, with its band where there are several seeds.

    Live arms are thick solid lines, frozen ones thin dashed lines; markers at staggered steps tell them apart where
    colour does not. The caption hangs below the axes: leave room for it.

    Args:
        comparison: What to draw. Missing arms are in the legend without a line.
        axes: Empty axes.

    Returns:
        The same axes.
    """
    colours = assign_colours(comparison.labels)
    lines: dict[str, Artist] = {}
    for arm in comparison.arms:
        lines[arm.label] = _draw_arm(axes, comparison, arm, colours[arm.label])
    _set_scales(axes, comparison)
    _add_legend(axes, comparison.labels, lines)
    _add_caption(axes, comparison.caption)
    return axes


def assign_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each label: the reference chart's, or the next of the cycle.

    Colours of the cycle that are close to a reference colour in the same chart come last, so that an arm added to the
    reference comparison stands out.
    """
    fixed = {label: REFERENCE_COLOURS[label] for label in labels if label in REFERENCE_COLOURS}
    cycle = sorted(COLOUR_CYCLE, key=lambda colour: any(_are_near(colour, other) for other in fixed.values()))
    others = [label for label in labels if label not in fixed]
    return fixed | {label: cycle[place % len(cycle)] for place, label in enumerate(others)}


def _are_near(colour: str, other: str) -> bool:
    return sum((a - b) ** 2 for a, b in zip(to_rgb(colour), to_rgb(other), strict=True)) < _NEAR


def _draw_arm(axes: Axes, comparison: Comparison, arm: ArmSummary, colour: str) -> Line2D:
    place = comparison.labels.index(arm.label)
    is_live = arm.mode is Mode.LIVE
    steps = [point.step for point in arm.points]
    is_hollow = place // len(_MARKERS) % 2 == 1
    (line,) = axes.plot(
        steps,
        [point.mean for point in arm.points],
        label=arm.label,
        color=colour,
        linewidth=_LIVE_WIDTH if is_live else _FROZEN_WIDTH,
        linestyle="-" if is_live else (0, _DASHES[place % len(_DASHES)]),
        marker=_MARKERS[place % len(_MARKERS)],
        markevery=_place_markers(steps, comparison.steps, (place + 0.5) / len(comparison.labels)),
        markersize=6 if is_live else 5,
        markerfacecolor="white" if is_hollow else colour,
        markeredgecolor=colour if is_hollow else "white",
        markeredgewidth=1.1 if is_hollow else 0.6,
        zorder=4 if is_live else 3,
        clip_on=False,  # a line at 1.0 would lose its upper half; the limits hold every point
    )
    if len(arm.seeds) > 1:
        lows, highs = [point.low for point in arm.points], [point.high for point in arm.points]
        axes.fill_between(steps, lows, highs, color=colour, alpha=0.14, linewidth=0, zorder=2)
    return line


def _place_markers(steps: Sequence[int], plan_steps: int, stagger: float) -> tuple[int, int]:
    """Return index of the first marker and points between two, so that no two lines have theirs at the same steps."""
    points_across = _place_step_ticks(plan_steps)[-1] * (len(steps) - 1) / max(steps[-1], 1)
    spacing = max(1, round(points_across / _MARKERS_ACROSS))
    return int(min(spacing, len(steps)) * stagger), spacing


def _set_scales(axes: Axes, comparison: Comparison) -> None:
    tier_edges = [tier / 5 for tier in range(6)]
    lowest = min((point.low for arm in comparison.arms for point in arm.points), default=1.0)
    step_ticks = _place_step_ticks(comparison.steps)
    axes.set_xticks(step_ticks)
    axes.set_xlim(step_ticks[0], step_ticks[-1])
    axes.set_yticks(tier_edges[0 if lowest < tier_edges[1] else 1 :])
    axes.set_ylim(axes.get_yticks()[0], 1.0)
    axes.set_xlabel("Step", fontsize=_TEXT_SIZE)
    axes.set_ylabel("Accuracy", fontsize=_TEXT_SIZE)
    axes.grid(visible=True, axis="y", color="#e3e3e3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _place_step_ticks(steps: int) -> list[float]:
    """Return ticks from 0 to the first round number that holds all steps: the reference chart's, if those do."""
    longest = max(steps, _REFERENCE_STEPS)
    magnitude = 10 ** (len(str(longest)) - 2)
    interval = next(n * magnitude for n in _ROUND_NUMBERS if n * magnitude * _MOST_STEP_INTERVALS >= longest)
    return [place * interval for place in range(-int(-longest // interval) + 1)]


def _add_legend(axes: Axes, labels: Sequence[str], lines: Mapping[str, Artist]) -> None:
    is_tall = len(labels) > _TALL_LEGEND and max(map(len, labels)) <= _WIDE_LABEL
    gap = Line2D([], [], linestyle="none")
    legend = axes.legend(
        [lines.get(label, gap) for label in labels],
        [label if label in lines else f"{label} (missing)" for label in labels],
        loc="lower right",
        ncols=2 if is_tall else 1,
        fontsize=_LEGEND_SIZE,
        framealpha=0.9,
        edgecolor="#cccccc",
        handlelength=3.6,
    )
    for label, text in zip(labels, legend.get_texts(), strict=True):
        text.set_parse_math(False)
        if label not in lines:
            text.set_color(_MISSING_COLOUR)


def _add_caption(axes: Axes, caption: str) -> None:
    width_inches = axes.get_window_extent().width / axes.figure.dpi
    axes.annotate(
        "\n".join(_wrap(caption, width_inches)),
        xy=(0, 0),
        xycoords="axes fraction",
        xytext=(0, -_BOTTOM * _POINTS_PER_INCH),
        textcoords="offset points",
        verticalalignment="top",
        fontsize=_CAPTION_SIZE,
        linespacing=_CAPTION_LEADING,
        color="#444444",
        parse_math=False,
        annotation_clip=False,
    )


def _wrap(caption: str, width_inches: float) -> list[str]:
    characters = int(width_inches * _POINTS_PER_INCH / (_CAPTION_SIZE * _MEAN_CHARACTER_WIDTH))
    return textwrap.wrap(caption, max(characters, 1))


def _save(figure: Figure, form: str, metadata: dict[str, str | None]) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format=form, dpi=_PNG_DOTS_PER_INCH, metadata=metadata)
    return content.getvalue()

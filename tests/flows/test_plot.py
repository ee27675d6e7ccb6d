"""What the chart shows: lines, labels, scales, colours and bytes."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from flows.comparison import Comparison
from flows.plot import COLOUR_CYCLE, REFERENCE_COLOURS, assign_colours, plot_comparison, render_comparison

MakeComparison = Callable[..., Comparison]
REFERENCE_CURVE = [0.25 + 0.7 * min(step, 40) / 40 for step in range(111)]


def draw(comparison: Comparison) -> Axes:
    return plot_comparison(comparison, Figure(figsize=(7.2, 5)).add_subplot())


def legend_of(axes: Axes) -> Legend:
    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]  # draw() made the figure
    legend = axes.get_legend()
    assert legend is not None
    return legend


def legend_labels(axes: Axes) -> list[str]:
    return [text.get_text() for text in legend_of(axes).get_texts()]


def caption_of(axes: Axes) -> str:
    (caption,) = axes.texts
    return caption.get_text()


@pytest.fixture
def reference(make_comparison: MakeComparison) -> Comparison:
    return make_comparison({label: [REFERENCE_CURVE] for label in REFERENCE_COLOURS})


def test_a_line_holds_the_mean_curve(make_comparison: MakeComparison) -> None:
    (line,) = draw(make_comparison({"Frozen A": [[0.25, 0.5], [0.75, 1.0]]})).lines

    assert np.array_equal(line.get_xdata(), [0, 1])
    assert np.array_equal(line.get_ydata(), [0.5, 0.75])


def test_the_reference_comparison_has_the_reference_charts_axes(reference: Comparison) -> None:
    axes = draw(reference)

    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("Step", "Accuracy", "")
    assert list(axes.get_xticks()) == [0, 20, 40, 60, 80, 100, 120]
    assert axes.get_xlim() == (0, 120)
    assert list(axes.get_yticks()) == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert axes.get_ylim() == (0.2, 1.0)


def test_the_reference_labels_have_the_reference_colours(reference: Comparison) -> None:
    lines = draw(reference).lines

    assert {line.get_label(): line.get_color() for line in lines} == REFERENCE_COLOURS


def test_the_legend_is_bottom_right_and_in_plan_order(make_comparison: MakeComparison) -> None:
    labels = ["Frozen Z", "Live Qwen3", "Frozen A"]
    axes = draw(make_comparison({label: [[0.5, 0.6]] for label in labels}))

    assert legend_labels(axes) == labels
    box = legend_of(axes).get_window_extent()
    assert (box.x0 + box.x1, box.y0 + box.y1) > (axes.bbox.x0 + axes.bbox.x1, 0)
    assert box.y1 < (axes.bbox.y0 + axes.bbox.y1) / 2


def test_live_lines_are_solid_and_thicker_than_the_dashed_frozen_ones(reference: Comparison) -> None:
    live, *frozen = draw(reference).lines

    assert live.get_linestyle() == "-"
    assert all(line.get_linestyle() == "--" for line in frozen)
    assert live.get_linewidth() > 1.5 * max(line.get_linewidth() for line in frozen)


def test_lines_can_be_told_apart_without_colour(reference: Comparison) -> None:
    lines = draw(reference).lines
    looks = {(line.get_marker(), line.get_markerfacecolor() == "white") for line in lines}
    first_markers = {line.get_markevery() for line in lines}

    assert len(looks) == len(lines)
    assert len(first_markers) == len(lines)


def test_a_band_reaches_from_the_lowest_to_the_highest_seed(make_comparison: MakeComparison) -> None:
    axes = draw(make_comparison({"Frozen A": [[0.3, 0.5], [0.4, 0.9]]}))

    (band,) = axes.collections
    corners = set(map(tuple, np.asarray(band.get_paths()[0].vertices).tolist()))
    assert {(0, 0.3), (0, 0.4), (1, 0.5), (1, 0.9)} <= corners


def test_one_seed_has_no_band(reference: Comparison) -> None:
    assert len(draw(reference).collections) == 0


def test_a_missing_arm_keeps_its_place_in_the_legend_without_a_line(make_comparison: MakeComparison) -> None:
    axes = draw(make_comparison({"Frozen A": [[0.5, 0.6]], "Live B": [], "Frozen C": [[0.5, 0.6]]}))

    assert legend_labels(axes) == ["Frozen A", "Live B (missing)", "Frozen C"]
    assert [line.get_label() for line in axes.lines] == ["Frozen A", "Frozen C"]
    assert "Live B is missing: no result." in caption_of(axes).replace("\n", " ")


def test_a_missing_arm_changes_no_other_arms_look(make_comparison: MakeComparison) -> None:
    whole = draw(make_comparison({"Frozen A": [[0.5, 0.6]], "Frozen B": [[0.5, 0.6]]})).lines[1]
    (alone,) = draw(make_comparison({"Frozen A": [], "Frozen B": [[0.5, 0.6]]})).lines

    assert (alone.get_color(), alone.get_marker()) == (whole.get_color(), whole.get_marker())


def test_a_comparison_without_any_result_is_an_empty_chart(make_comparison: MakeComparison) -> None:
    comparison = make_comparison({"Frozen A": [], "Live B": []})
    axes = draw(comparison)

    assert len(axes.lines) == 0
    assert axes.get_ylim() == (0.2, 1.0)
    assert legend_labels(axes) == ["Frozen A (missing)", "Live B (missing)"]
    assert set(render_comparison(comparison)) == {"comparison.png", "comparison.svg"}


def test_a_short_curve_stays_on_the_reference_axis_with_its_marker(make_comparison: MakeComparison) -> None:
    axes = draw(make_comparison({f"Frozen {n}": [[0.3, 0.4, 0.5]] for n in range(4)}))

    assert axes.get_xlim() == (0, 120)
    for line in axes.lines:
        markers = line.get_markevery()
        assert isinstance(markers, tuple)
        assert 0 <= markers[0] < 3
        assert markers[1] > 1


@pytest.mark.parametrize(
    ("steps", "last_tick", "num_ticks"),
    [(1, 120, 7), (120, 120, 7), (121, 125, 6), (200, 200, 5), (500, 500, 6), (700, 800, 5), (1000, 1000, 6)],
)
def test_ticks_are_round_and_hold_every_step(
    make_comparison: MakeComparison, steps: int, last_tick: int, num_ticks: int
) -> None:
    axes = draw(make_comparison({"Frozen A": [[0.5] * (steps + 1)]}))

    assert (axes.get_xticks()[-1], len(axes.get_xticks())) == (last_tick, num_ticks)
    assert axes.get_xlim() == (0, last_tick)


@pytest.mark.parametrize("lowest", [0.0, 0.1, 0.1999])
def test_a_curve_below_the_reference_axis_extends_it_to_zero(make_comparison: MakeComparison, lowest: float) -> None:
    axes = draw(make_comparison({"Frozen A": [[lowest, 0.6]]}))

    assert axes.get_ylim() == (0.0, 1.0)
    assert list(axes.get_yticks()) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_a_band_below_the_reference_axis_extends_it_too(make_comparison: MakeComparison) -> None:
    axes = draw(make_comparison({"Frozen A": [[0.1, 0.6], [0.5, 0.6]]}))

    assert axes.get_ylim() == (0.0, 1.0)


def test_ten_unknown_labels_have_ten_colours_and_a_legend_of_two_columns(make_comparison: MakeComparison) -> None:
    axes = draw(make_comparison({f"Frozen Other {n}": [[0.5, 0.6]] for n in range(10)}))

    assert len({line.get_color() for line in axes.lines}) == 10
    assert len({round(text.get_window_extent().x0) for text in legend_of(axes).get_texts()}) == 2


def test_colours_of_unknown_labels_keep_clear_of_the_reference_colours_in_the_chart() -> None:
    colours = assign_colours([*REFERENCE_COLOURS, "Frozen Phi4"])

    assert colours["Frozen Phi4"] == COLOUR_CYCLE[0]
    assert assign_colours(["Live Qwen3", "A", "B", "C"])["C"] == COLOUR_CYCLE[3]  # the third is another orange


def test_labels_and_captions_are_never_read_as_formulas(make_comparison: MakeComparison) -> None:
    comparison = make_comparison({"Frozen $x_1$": [[0.5, 0.6]], "_Frozen \\frac{": [[0.5, 0.6]]})
    axes = draw(comparison.model_copy(update={"caption": "Costs $1 or $2^{"}))

    # Placing the legend lays out every text, and a formula that cannot be read would raise.
    assert legend_labels(axes) == ["Frozen $x_1$", "_Frozen \\frac{"]


def test_the_caption_stays_below_the_axes_and_inside_the_picture(reference: Comparison) -> None:
    root = ET.fromstring(render_comparison(reference)["comparison.svg"])  # noqa: S314 - drawn here
    axes = draw(reference)
    (caption,) = axes.texts

    assert caption_of(axes).replace("\n", " ") == reference.caption
    assert caption.get_window_extent().y1 < axes.bbox.y0
    assert caption.get_window_extent().x1 <= axes.bbox.x1
    assert float(root.attrib["height"].removesuffix("pt")) > 5 * 72


def test_a_longer_caption_makes_a_taller_picture(reference: Comparison) -> None:
    longer = reference.model_copy(update={"caption": reference.caption * 4})

    def height(comparison: Comparison) -> int:
        png = render_comparison(comparison)["comparison.png"]
        return int.from_bytes(png[20:24], "big")

    assert height(longer) > height(reference)


def test_equal_comparisons_give_equal_bytes(reference: Comparison) -> None:
    first = render_comparison(reference)

    assert render_comparison(reference.model_copy(deep=True)) == first
    assert first["comparison.png"].startswith(b"\x89PNG")
    assert b"<svg" in first["comparison.svg"]
    assert b"dc:date" not in first["comparison.svg"]


def test_a_readers_matplotlib_settings_change_no_byte(reference: Comparison) -> None:
    expected = render_comparison(reference)
    settings: Any = {
        "font.size": 30,
        "axes.facecolor": "black",
        "savefig.dpi": 30,
        "axes.grid": True,
        "lines.antialiased": False,
    }

    with mpl.rc_context(settings):
        assert render_comparison(reference) == expected
        assert mpl.rcParams["font.size"] == 30

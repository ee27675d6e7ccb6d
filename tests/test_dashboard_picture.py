"""The picture draws what a Trend panel draws, and refuses what it refuses."""

import copy
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from dashboard_picture import PanelError, build_lines, draw_panel, find_curves_panel

STEPS = {"name": "training step", "type": "number", "values": [0, 1, 2]}


def frame(**lines: list[float | None]) -> dict[str, Any]:
    fields = [{"name": name.replace("_", "-"), "type": "number", "values": values} for name, values in lines.items()]
    return {"refId": "A", "fields": [STEPS, *fields]}


def test_live_is_solid_and_thicker_than_frozen_which_is_dashed() -> None:
    live, frozen = build_lines(find_curves_panel(), [frame(live_qwen3=[0.1, 0.2, 0.3], frozen_qwen3=[0.1, 0.1, 0.2])])

    assert (live.name, frozen.name) == ("live-qwen3", "frozen-qwen3")
    assert live.dash == ()
    assert frozen.dash
    assert live.width > frozen.width


def test_arms_of_the_reference_have_its_colours_and_others_the_palettes() -> None:
    known, other = build_lines(find_curves_panel(), [frame(live_qwen3=[0.1, 0.2, 0.3], live_other=[0.1, 0.1, 0.2])])

    assert known.colour == "#ff7f0e"
    assert other.colour is None


def test_a_line_goes_over_points_that_are_missing() -> None:
    (line,) = build_lines(find_curves_panel(), [frame(live_qwen3=[0.1, None, 0.3])])

    assert (line.steps, line.values) == ([0, 2], [0.1, 0.3])


def test_what_is_drawn_is_what_the_frame_holds() -> None:
    figure = draw_panel(
        find_curves_panel(), [frame(live_qwen3=[0.1, 0.2, 0.3], frozen_qwen3=[0.1, None, 0.2])], "t", "c"
    )

    (axes,) = figure.axes
    drawn = {line.get_label(): line for line in axes.get_lines()}
    assert np.asarray(drawn["live-qwen3"].get_ydata()).tolist() == [0.1, 0.2, 0.3]
    assert np.asarray(drawn["frozen-qwen3"].get_xdata()).tolist() == [0, 2]
    assert to_hex(drawn["live-qwen3"].get_color()) == "#ff7f0e"
    assert not drawn["live-qwen3"].is_dashed()
    assert drawn["frozen-qwen3"].is_dashed()
    assert axes.get_ylim() == (0, 1)
    assert axes.get_xlabel() == "training step"


def test_without_data_it_is_refused_as_the_panel_refuses_it() -> None:
    with pytest.raises(PanelError, match="0 frames"):
        build_lines(find_curves_panel(), [])


@pytest.mark.parametrize("steps", [[0, 2, 1], [0, 1, 1]], ids=["disorder", "a step twice"])
def test_steps_that_do_not_ascend_are_refused(steps: list[int]) -> None:
    spoilt = frame(live_qwen3=[0.1, 0.2, 0.3])
    spoilt["fields"][0] = {**STEPS, "values": steps}

    with pytest.raises(PanelError, match="do not ascend"):
        build_lines(find_curves_panel(), [spoilt])


def test_a_way_of_overriding_that_is_not_known_is_named() -> None:
    panel = copy.deepcopy(find_curves_panel())
    panel["fieldConfig"]["overrides"].append({"matcher": {"id": "byValue", "options": {}}, "properties": []})

    with pytest.raises(PanelError, match="'byValue'"):
        build_lines(panel, [frame(live_qwen3=[0.1, 0.2, 0.3])])

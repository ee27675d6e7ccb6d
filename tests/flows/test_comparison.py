"""What a comparison says of its arms."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from flows.comparison import ArmRun, Comparison, build_comparison
from worker.contract.config import PreparedData
from worker.contract.plan import Plan
from worker.contract.results import EvalPoint

RISE = [0.25, 0.5, 0.75, 0.5, 0.625]


def test_an_arm_is_summarised_by_the_landmarks_of_its_curve(make_comparison: Callable[..., Comparison]) -> None:
    (arm,) = make_comparison({"Frozen A": [RISE]}).arms

    assert [(point.step, point.mean) for point in arm.points] == list(enumerate(RISE))
    assert (arm.start, arm.peak, arm.peak_step, arm.end) == (0.25, 0.75, 2, 0.625)
    assert (arm.test_last, arm.test_best) == (0.5, 0.625)
    assert (arm.mode, arm.backbone, arm.revision, arm.is_tiny) == ("frozen", "acme/base", "c" * 40, False)


def test_several_seeds_give_mean_lowest_and_highest(make_comparison: Callable[..., Comparison]) -> None:
    (arm,) = make_comparison({"Frozen A": [[0.2, 0.6], [0.4, 0.8], [0.3, 0.1]]}).arms

    assert arm.seeds == (0, 1, 2)
    assert [point.mean for point in arm.points] == pytest.approx([0.3, 0.5])
    assert [(point.low, point.high) for point in arm.points] == [(0.2, 0.4), (0.1, 0.8)]


def test_a_mean_of_equal_seeds_is_that_number(make_comparison: Callable[..., Comparison]) -> None:
    (arm,) = make_comparison({"Frozen A": [[0.1, 0.7]] * 3}).arms

    assert [(point.low, point.mean, point.high) for point in arm.points] == [(0.1, 0.1, 0.1), (0.7, 0.7, 0.7)]


def test_of_equal_peaks_the_first_counts_whatever_the_rounding(make_comparison: Callable[..., Comparison]) -> None:
    (arm,) = make_comparison({"Frozen A": [[0.1, 0.9, 0.85], [0.1, 0.8, 0.85]]}).arms

    assert arm.peak_step == 1


@pytest.mark.parametrize(("num_points", "expected"), [(41, 0.5), (40, None)])
def test_step_40_is_none_where_it_was_not_scored(
    make_comparison: Callable[..., Comparison], num_points: int, expected: float | None
) -> None:
    (arm,) = make_comparison({"Frozen A": [[0.5] * num_points]}).arms

    assert arm.at_step_40 == expected


def test_steps_that_were_not_scored_are_no_points(
    make_plan: Callable[..., Plan], make_run: Callable[..., ArmRun], data: PreparedData
) -> None:
    plan = make_plan("Frozen A")
    curve = (*make_run(plan, "Frozen A", RISE).curve[:2], EvalPoint(step=2, train_accuracy=0.9))
    run = make_run(plan, "Frozen A", RISE).model_copy(update={"curve": curve})

    (arm,) = build_comparison(plan, data, {"frozen-a": [run]}, {}).arms

    assert [point.step for point in arm.points] == [0, 1]


def test_arms_keep_the_plans_order_and_the_missing_ones_their_place(
    make_comparison: Callable[..., Comparison],
) -> None:
    comparison = make_comparison({"Frozen Z": [RISE], "Live M": [], "Frozen A": [RISE]})

    assert comparison.labels == ("Frozen Z", "Live M", "Frozen A")
    assert [arm.label for arm in comparison.arms] == ["Frozen Z", "Frozen A"]
    assert [(gap.label, gap.reason, gap.is_drawn) for gap in comparison.missing] == [("Live M", "no result", False)]
    assert "Live M is missing: no result." in comparison.caption


def test_a_failed_arm_is_named_with_its_reason(make_plan: Callable[..., Plan], data: PreparedData) -> None:
    reason = "The device ran\nout of memory."

    comparison = build_comparison(make_plan("Frozen A", seeds=(0, 1)), data, {}, {"frozen-a": reason})

    (gap,) = comparison.missing
    assert (gap.slug, gap.mode, gap.seeds, gap.reason) == ("frozen-a", "frozen", (0, 1), reason)
    assert comparison.arms == ()
    assert comparison.devices == ()
    assert comparison.caption.endswith("Frozen A is missing: The device ran out of memory.")


def test_a_caption_has_no_room_for_a_long_reason(make_plan: Callable[..., Plan], data: PreparedData) -> None:
    comparison = build_comparison(make_plan("Frozen A"), data, {}, {"frozen-a": "word " * 1000})

    assert len(comparison.caption) < 500
    assert comparison.caption.endswith("word….")


def test_an_arm_without_some_of_its_seeds_is_drawn_and_named(
    make_plan: Callable[..., Plan], make_run: Callable[..., ArmRun], data: PreparedData
) -> None:
    plan = make_plan("Frozen A", seeds=(5, 6, 7))
    runs = {"frozen-a": [make_run(plan, "Frozen A", RISE, seed=6)]}

    comparison = build_comparison(plan, data, runs, {"frozen-a": "killed"})

    assert comparison.arms[0].seeds == (6,)
    (gap,) = comparison.missing
    assert (gap.seeds, gap.is_drawn, gap.reason) == ((5, 7), True, "seeds 5, 7: killed")
    assert "Frozen A is drawn without seeds 5, 7: killed." in comparison.caption


def test_an_arm_that_failed_is_named_although_an_earlier_result_is_drawn(
    make_plan: Callable[..., Plan], make_run: Callable[..., ArmRun], data: PreparedData
) -> None:
    plan = make_plan("Frozen A")

    comparison = build_comparison(plan, data, {"frozen-a": [make_run(plan, "Frozen A", RISE)]}, {"frozen-a": "killed"})

    assert [arm.label for arm in comparison.arms] == ["Frozen A"]
    (gap,) = comparison.missing
    assert (gap.seeds, gap.is_drawn) == ((), True)
    assert gap.reason == "an earlier result is drawn; the last try failed: killed"
    assert "Frozen A is not up to date: an earlier result is drawn" in comparison.caption


def test_runs_that_the_plan_does_not_hold_are_left_out(
    make_plan: Callable[..., Plan], make_run: Callable[..., ArmRun], data: PreparedData
) -> None:
    old = make_plan("Frozen A", "Frozen B", seeds=(0, 1))
    runs = {
        "frozen-a": [make_run(old, "Frozen A", RISE), make_run(old, "Frozen A", [0.9] * 5, seed=1, device="gone")],
        "frozen-b": [make_run(old, "Frozen B", RISE)],
    }

    comparison = build_comparison(make_plan("Frozen A"), data, runs, {})

    assert [arm.label for arm in comparison.arms] == ["Frozen A"]
    assert comparison.arms[0].end == RISE[-1]
    assert comparison.devices == ("cpu",)


def test_the_caption_says_what_the_numbers_are(make_comparison: Callable[..., Comparison]) -> None:
    caption = make_comparison({"Frozen A": [RISE, RISE, RISE]}).caption

    assert caption == (
        "Accuracy on 512 validation examples of builtin:language-names, 4 classes "
        "(always naming the commonest: 0.281). "
        "Lines: mean over 3 seeds; bands: lowest to highest seed. Trained on cpu."
    )


def test_tiny_backbones_are_called_stand_ins(make_comparison: Callable[..., Comparison]) -> None:
    comparison = make_comparison({"Frozen A": [RISE]}, backbone="tiny:qwen3")

    assert comparison.is_demo
    assert comparison.arms[0].is_tiny
    assert "tiny stand-ins, not the models that the labels name" in comparison.caption
    assert "One seed." in comparison.caption


def test_devices_are_distinct_and_sorted(
    make_plan: Callable[..., Plan], make_run: Callable[..., ArmRun], data: PreparedData
) -> None:
    plan = make_plan("Frozen A", "Frozen B", "Frozen C")
    devices = {"Frozen A": "NVIDIA T4", "Frozen B": "NVIDIA A10", "Frozen C": "NVIDIA T4"}
    runs = {arm.slug: [make_run(plan, arm.label, RISE, device=devices[arm.label])] for arm in plan.arms}

    comparison = build_comparison(plan, data, runs, {})

    assert comparison.devices == ("NVIDIA A10", "NVIDIA T4")
    assert "Trained on NVIDIA A10, NVIDIA T4." in comparison.caption


def test_without_prepared_data_the_plan_names_the_source(make_plan: Callable[..., Plan]) -> None:
    comparison = build_comparison(make_plan("Frozen A"), None, {}, {})

    assert comparison.data.source == "news.csv"
    assert comparison.data.num_examples is None
    assert comparison.caption.startswith("Accuracy on the validation split of news.csv.")


def test_the_order_of_runs_changes_no_byte(
    make_plan: Callable[..., Plan], make_run: Callable[..., ArmRun], data: PreparedData
) -> None:
    plan = make_plan("Frozen A", seeds=(3, 1, 2))
    runs = [make_run(plan, "Frozen A", [0.1 * seed + step / 10 for step in range(5)], seed=seed) for seed in (1, 2, 3)]

    first = build_comparison(plan, data, {"frozen-a": runs}, {})
    second = build_comparison(plan, data, {"frozen-a": runs[::-1]}, {})

    assert first.model_dump_json() == second.model_dump_json()
    assert first.arms[0].seeds == (3, 1, 2)


def test_a_comparison_survives_its_file(make_comparison: Callable[..., Comparison]) -> None:
    comparison = make_comparison({"Frozen A": [RISE], "Live B": []})

    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_another_schema_version_is_refused(make_comparison: Callable[..., Comparison]) -> None:
    document = make_comparison({"Frozen A": [RISE]}).model_dump() | {"schema_version": 2}

    with pytest.raises(ValidationError, match="schema_version"):
        Comparison.model_validate(document)


def test_the_caption_says_how_many_examples_were_left_out(
    make_plan: Callable[..., Plan], make_run: Callable[..., ArmRun], data: PreparedData
) -> None:
    plan = make_plan("Frozen A")
    runs = {"frozen-a": [make_run(plan, "Frozen A", RISE)]}
    cleaned = data.model_copy(
        update={
            "num_duplicates_dropped": 3,
            "num_conflicts_dropped": 2,
            "num_empty_dropped": 1,
            "absent_from_validation": ("no",),
        }
    )

    assert "Left out" not in build_comparison(plan, data, runs, {}).caption
    assert (
        "Left out: 3 examples whose text occurs twice, 2 whose text occurs with two classes, 1 without a text. "
        "The validation split has no example of 1 of the classes."
    ) in build_comparison(plan, cleaned, runs, {}).caption

"""The standings: every arm's numbers as a table, for terminals, artifacts and reports. Pure."""

from flows.comparison import ArmSummary, Comparison

STANDINGS_COLUMNS = ("Arm", "Mode", "Start", "Step 40", "Peak (step)", "End", "Test last", "Test best")
"""Headings of the standings. All but the last two are on the validation split."""

_NO_VALUE = "-"


def standings_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the cells of the standings below ``STANDINGS_COLUMNS``, one row per arm in plan order.

    A missing arm has its row too, without numbers.
    """
    summary_by_label = {arm.label: arm for arm in comparison.arms}
    mode_by_label = {gap.label: gap.mode for gap in comparison.missing}
    return [
        _row(summary_by_label[label])
        if label in summary_by_label
        else (label, mode_by_label[label].value, *[_NO_VALUE] * (len(STANDINGS_COLUMNS) - 2))
        for label in comparison.labels
    ]


def standings_markdown(comparison: Comparison) -> str:
    """Return the standings as a Markdown table, with the missing arms and their reasons below it."""
    rules = [":---", ":---", *["---:"] * (len(STANDINGS_COLUMNS) - 2)]
    rows = [STANDINGS_COLUMNS, rules, *standings_rows(comparison)]
    lines = ["| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in rows]
    gaps = [f"- Missing: {gap.label}: {' '.join(gap.reason.split())}" for gap in comparison.missing]
    return "\n".join([*lines, *([""] if gaps else []), *gaps]) + "\n"


def _row(arm: ArmSummary) -> tuple[str, ...]:
    at_step_40 = _NO_VALUE if arm.at_step_40 is None else f"{arm.at_step_40:.3f}"
    peak = f"{arm.peak:.3f} ({arm.peak_step})"
    numbers = (f"{number:.3f}" for number in (arm.end, arm.test_last, arm.test_best))
    return (arm.label, arm.mode.value, f"{arm.start:.3f}", at_step_40, peak, *numbers)

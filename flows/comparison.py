"""The comparison: what every arm reached, in numbers that are ready to be drawn.

Pure: results in, one record out. Knows neither the results store nor how a chart is made.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

from pydantic import Field

from worker.contract.arms import Arm, Mode
from worker.contract.config import PreparedData, SplitSizes
from worker.contract.plan import Plan
from worker.contract.records import Record
from worker.contract.results import EvalPoint, RunResult

NO_RESULT = "no result"
"""Why an arm is missing when nobody knows more."""

_EQUAL_WITHIN = 1e-12  # of accuracy; far below one example, far above the rounding of a mean
_SHORT_REASON = 140  # characters of a reason that a caption has room for
_EARLY_STEP = 40  # where the reference chart's steep rise ends


class ArmRun(Record):
    """One finished run: its result and the curve that belongs to it."""

    result: RunResult = Field(description="The outcome.")
    curve: tuple[EvalPoint, ...] = Field(description="Every row, those without a validation accuracy included.")


class CurvePoint(Record):
    """Validation accuracy of one arm at one step, over its seeds."""

    step: int = Field(ge=0, description="Updates so far; 0 is the untrained head.")
    mean: float = Field(ge=0, le=1, description="Mean over the seeds.")
    low: float = Field(ge=0, le=1, description="The lowest seed.")
    high: float = Field(ge=0, le=1, description="The highest seed.")


class ArmSummary(Record):
    """One arm with at least one finished seed. Accuracies are means over the seeds that finished."""

    label: str = Field(description="Name in legends and tables.")
    slug: str = Field(description="Identity inside the comparison.")
    mode: Mode = Field(description="What was trained.")
    backbone: str = Field(description="Source of the backbone, as in the plan.")
    revision: str = Field(description="Commit of a hub id, otherwise SHA-256 of the backbone's files.")
    is_tiny: bool = Field(description="Whether the backbone is a tiny stand-in for the model its name suggests.")
    seeds: tuple[int, ...] = Field(min_length=1, description="Seeds that finished, in plan order.")
    points: tuple[CurvePoint, ...] = Field(min_length=1, description="Steps that every one of these seeds scored.")
    start: float = Field(description="Validation accuracy at the first point.")
    at_step_40: float | None = Field(description="Validation accuracy at step 40; None if that step was not scored.")
    peak: float = Field(description="Highest point of the mean curve.")
    peak_step: int = Field(description="Where the peak is; the first of equals.")
    end: float = Field(description="Validation accuracy at the last point.")
    test_last: float = Field(description="Test accuracy after the last step.")
    test_best: float = Field(description="Test accuracy at each seed's best validation step.")


class MissingArm(Record):
    """An arm that is not drawn, or is drawn without some of its seeds."""

    label: str = Field(description="Name in legends and tables.")
    slug: str = Field(description="Identity inside the comparison.")
    mode: Mode = Field(description="What was to be trained.")
    seeds: tuple[int, ...] = Field(
        description="Seeds without a result, in plan order; none if the arm failed and an earlier result is drawn."
    )
    is_drawn: bool = Field(description="Whether other seeds of the arm, or an earlier result, are drawn.")
    reason: str = Field(description="Why; names the seeds if others finished.")


class ComparedData(Record):
    """The data set that all arms were trained and scored on."""

    source: str = Field(description="As in the plan.")
    classes: tuple[str, ...] = Field(default=(), description="Class names; empty if the data was never prepared.")
    num_examples: SplitSizes | None = Field(default=None, description="None if the data was never prepared.")
    num_duplicates_dropped: int = Field(default=0, description="Examples left out because their text had been seen.")
    num_conflicts_dropped: int = Field(default=0, description="Examples left out because their text has two classes.")
    num_empty_dropped: int = Field(default=0, description="Examples left out because they have no text.")
    absent_from_validation: tuple[str, ...] = Field(default=(), description="Classes without a validation example.")
    absent_from_test: tuple[str, ...] = Field(default=(), description="Classes without a test example.")
    majority_accuracy: float | None = Field(
        default=None, description="Validation accuracy of always naming the commonest class; None as above."
    )


class Comparison(Record):
    """Everything that the chart, the table and the verdict say: ``comparison.json``."""

    schema_version: Literal[1] = 1
    name: str = Field(description="Name of the comparison, as in the plan.")
    comparison: str = Field(description="Slug of the name.")
    data: ComparedData = Field(description="The data set.")
    steps: int = Field(description="Optimizer updates that the plan asks for.")
    seeds: tuple[int, ...] = Field(description="Seeds that the plan asks for.")
    labels: tuple[str, ...] = Field(description="Every arm of the plan in its order, the missing ones included.")
    arms: tuple[ArmSummary, ...] = Field(description="Arms with a result, in plan order.")
    missing: tuple[MissingArm, ...] = Field(description="Arms with a missing seed, in plan order.")
    devices: tuple[str, ...] = Field(description="Device models that trained the arms, sorted.")
    is_demo: bool = Field(description="Whether any backbone of the plan is a tiny stand-in.")
    caption: str = Field(description="What a reader of the chart must know, in sentences.")


def build_comparison(
    plan: Plan, data: PreparedData | None, runs: Mapping[str, Sequence[ArmRun]], failures: Mapping[str, str]
) -> Comparison:
    """Summarise the finished runs of a plan, and name what is missing.

    An arm of which some seeds failed is drawn with the others and named as missing too: leaving it out would waste what
    is known, drawing it silently would hide that its mean is over fewer seeds than its neighbours'.
    Runs of seeds or arms that the plan does not hold are left out.

    Args:
        plan: What was to be compared.
        data: The prepared data set; None if it never came to that.
        runs: Finished runs by arm slug, in any order.
        failures: Why an arm has no result, or failed although the store holds an earlier one, by arm slug.

    Returns:
        The comparison; equal for equal input.
    """
    arms: list[ArmSummary] = []
    missing: list[MissingArm] = []
    devices: set[str] = set()
    for arm in plan.arms:
        run_by_seed = {run.result.identity.seed: run for run in runs.get(arm.slug, ())}
        finished = [run_by_seed[seed] for seed in plan.seeds if seed in run_by_seed]
        devices.update(run.result.device for run in finished)
        if finished:
            arms.append(_summarise_arm(arm, finished))
        lost = tuple(seed for seed in plan.seeds if seed not in run_by_seed)
        if lost or arm.slug in failures:
            missing.append(_name_missing(arm, lost, failures.get(arm.slug, NO_RESULT), is_drawn=bool(finished)))
    draft = Comparison(
        name=plan.name,
        comparison=plan.comparison,
        data=_describe_data(plan, data),
        steps=plan.training.steps,
        seeds=plan.seeds,
        labels=tuple(arm.label for arm in plan.arms),
        arms=tuple(arms),
        missing=tuple(missing),
        devices=tuple(sorted(devices)),
        is_demo=any(arm.backbone.kind == "tiny" for arm in plan.arms),
        caption="",
    )
    return draft.model_copy(update={"caption": build_caption(draft)})


def build_caption(comparison: Comparison) -> str:
    """Say in sentences what the curves are, what made them, and which are not there."""
    sentences = [_data_sentence(comparison.data)]
    if len(comparison.seeds) > 1:
        sentences.append(f"Lines: mean over {len(comparison.seeds)} seeds; bands: lowest to highest seed.")
    else:
        sentences.append("One seed.")
    if comparison.devices:
        sentences.append(f"Trained on {', '.join(comparison.devices)}.")
    if comparison.is_demo:
        sentences.append("Backbones named tiny:* are tiny stand-ins, not the models that the labels name.")
    for gap in comparison.missing:
        verb = "is missing:" if not gap.is_drawn else "is drawn without" if gap.seeds else "is not up to date:"
        sentences.append(f"{gap.label} {verb} {_shorten(gap.reason)}.")
    return " ".join(sentences)


def _data_sentence(data: ComparedData) -> str:
    if data.num_examples is None:
        return f"Accuracy on the validation split of {data.source}."
    sentence = (
        f"Accuracy on {data.num_examples.validation} validation examples of {data.source}, "
        f"{len(data.classes)} classes (always naming the commonest: {data.majority_accuracy:.3f})."
    )
    if data.num_duplicates_dropped or data.num_conflicts_dropped or data.num_empty_dropped:
        sentence += (
            f" Left out: {data.num_duplicates_dropped} examples whose text occurs twice, "
            f"{data.num_conflicts_dropped} whose text occurs with two classes, {data.num_empty_dropped} without a text."
        )
    if data.absent_from_validation:
        sentence += f" The validation split has no example of {len(data.absent_from_validation)} of the classes."
    return sentence


def _shorten(reason: str) -> str:
    words = " ".join(reason.split()).rstrip(".")
    return words if len(words) <= _SHORT_REASON else words[: _SHORT_REASON - 1].rstrip() + "…"


def _describe_data(plan: Plan, data: PreparedData | None) -> ComparedData:
    if data is None:
        return ComparedData(source=plan.data.source)
    return ComparedData.model_validate(data.model_dump(include=set(ComparedData.model_fields)))


def _name_missing(arm: Arm, seeds: tuple[int, ...], reason: str, *, is_drawn: bool) -> MissingArm:
    if is_drawn and not seeds:
        reason = f"an earlier result is drawn; the last try failed: {reason}"
    elif is_drawn:
        reason = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}: {reason}"
    return MissingArm(label=arm.label, slug=arm.slug, mode=arm.mode, seeds=seeds, is_drawn=is_drawn, reason=reason)


def _summarise_arm(arm: Arm, runs: Sequence[ArmRun]) -> ArmSummary:
    points = _average_curves([run.curve for run in runs])
    mean_by_step = {point.step: point.mean for point in points}
    highest = max(mean_by_step.values())
    peak_step = next(step for step, mean in mean_by_step.items() if mean > highest - _EQUAL_WITHIN)
    return ArmSummary(
        label=arm.label,
        slug=arm.slug,
        mode=arm.mode,
        backbone=arm.backbone.source,
        revision=runs[0].result.backbone.revision,
        is_tiny=arm.backbone.kind == "tiny",
        seeds=tuple(run.result.identity.seed for run in runs),
        points=points,
        start=points[0].mean,
        at_step_40=mean_by_step.get(_EARLY_STEP),
        peak=mean_by_step[peak_step],
        peak_step=peak_step,
        end=points[-1].mean,
        test_last=fmean(run.result.test_last.accuracy for run in runs),
        test_best=fmean(run.result.test_best.accuracy for run in runs),
    )


def _average_curves(curves: Sequence[Sequence[EvalPoint]]) -> tuple[CurvePoint, ...]:
    """Return mean, lowest and highest accuracy at the steps that every curve scored."""
    scored = [
        {point.step: point.validation_accuracy for point in curve if point.validation_accuracy is not None}
        for curve in curves
    ]
    common_steps = sorted(set.intersection(*(set(by_step) for by_step in scored)))
    return tuple(_spread(step, [by_step[step] for by_step in scored]) for step in common_steps)


def _spread(step: int, accuracies: Sequence[float]) -> CurvePoint:
    low, high = min(accuracies), max(accuracies)
    # Rounding may carry the mean of equal numbers one unit in the last place beyond them.
    return CurvePoint(step=step, mean=min(max(fmean(accuracies), low), high), low=low, high=high)

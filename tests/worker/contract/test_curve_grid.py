"""The exposed steps of a curve: fixed by the plan, bounded, even, with both ends."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract.curve_grid import CurveGrid
from worker.contract.metric_names import MAX_CURVE_POINTS
from worker.contract.plan import TrainingSettings
from worker.contract.results import EvalPoint


def training(steps: int, eval_every: int) -> TrainingSettings:
    return TrainingSettings(steps=steps, eval_every=eval_every, warmup_steps=0)


def points(conditions: TrainingSettings, last_step: int) -> list[EvalPoint]:
    """The curve of a run that has come to a step."""
    return [
        EvalPoint(step=step, validation_accuracy=step / 10_000 if conditions.is_eval_step(step) else None)
        for step in range(last_step + 1)
    ]


plans = st.integers(1, 2000).flatmap(lambda steps: st.builds(training, st.just(steps), st.integers(1, steps)))


@given(plans, st.integers(2, 600))
@settings(deadline=None)
def test_the_exposed_steps_are_bounded_even_and_keep_both_ends(conditions: TrainingSettings, most: int) -> None:
    grid = CurveGrid.of(conditions, most)
    exposed = list(grid.exposed_steps(conditions.steps))
    scored = conditions.eval_steps

    assert grid.num_planned == len(scored)
    assert len(exposed) <= most
    assert set(exposed) <= set(scored)
    assert (exposed[0], exposed[-1]) == (0, conditions.steps)
    assert len(scored) > most or exposed == list(scored)
    assert len(scored) <= most or len(exposed) > most // 2
    assert len({later - earlier for earlier, later in pairwise(exposed[:-1])}) <= 1


@given(plans, st.data())
@settings(deadline=None, max_examples=50)
def test_a_curve_that_grows_never_shows_a_step_that_it_does_not_show_in_the_end(
    conditions: TrainingSettings, data: st.DataObject
) -> None:
    grid = CurveGrid.of(conditions, 50)
    whole = points(conditions, conditions.steps)
    last_step = data.draw(st.integers(0, conditions.steps))
    so_far = grid.thin(whole[: last_step + 1])

    assert set(so_far.steps) <= set(grid.thin(whole).steps)
    assert list(so_far.accuracies) == [whole[step].validation_accuracy for step in so_far.steps]
    assert so_far.last_step == last_step
    scored = [step for step in conditions.eval_steps if step <= last_step]
    assert len(so_far.steps) + so_far.num_dropped == grid.num_scored(last_step) == len(scored)
    assert so_far.latest == whole[scored[-1]].validation_accuracy


def test_a_curve_that_fits_is_exposed_whole() -> None:
    conditions = training(MAX_CURVE_POINTS - 1, 1)
    whole = CurveGrid.of(conditions).thin(points(conditions, conditions.steps))

    assert list(whole.steps) == list(range(MAX_CURVE_POINTS))
    assert whole.num_dropped == 0


def test_a_curve_that_has_not_begun_shows_nothing() -> None:
    curve = CurveGrid.of(training(10, 1)).thin([])

    assert (list(curve.steps), curve.num_dropped, curve.last_step, curve.latest) == ([], 0, None, None)

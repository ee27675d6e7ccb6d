"""Results: a run is read as it was written; of a changed one nothing is read that was never measured."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.collect import read_run
from flows.comparison import ArmRun
from mutations import FEW, MANY, examples, mutated_bytes
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import PreparedBackbone, RunIdentity, SplitSizes, arm_training
from worker.contract.errors import ResultError
from worker.contract.plan import TrainingSettings
from worker.contract.results import BackboneProof, Candidate, EvalPoint, Prediction, RunResult, Score
from worker.contract.store import ResultsStore, RunRecords, encode_rows

few_or_many = pytest.mark.parametrize("number", [FEW, pytest.param(MANY, marks=pytest.mark.full)])

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
ratios = st.floats(0, 1)
losses = st.floats(allow_nan=False, allow_infinity=False)
scores = st.builds(Score, step=st.integers(0, 100_000), accuracy=ratios, loss=losses)
candidates = st.builds(
    Candidate, head_lr=losses, backbone_lr=st.none() | losses, last=st.none() | scores, diverged_at_step=st.none()
)
predictions = st.builds(
    Prediction,
    split=st.sampled_from(["validation", "test"]),
    example=words,
    target=st.integers(0, 2**40),
    last=st.integers(0, 9),
    best=st.integers(0, 9),
)


@st.composite
def runs(draw: st.DrawFn) -> tuple[ArmRun, list[Prediction]]:
    """Draw a finished run with every number as awkward as a float can be."""
    steps = draw(st.integers(1, 6))
    training = TrainingSettings(steps=steps, warmup_steps=0, eval_every=draw(st.integers(1, steps)))
    mode = draw(st.sampled_from(Mode))
    curve = tuple(
        EvalPoint(
            step=step,
            validation_accuracy=draw(ratios) if training.is_eval_step(step) else None,
            validation_loss=draw(losses) if training.is_eval_step(step) else None,
            train_loss=draw(st.none() | losses),
        )
        for step in range(steps + 1)
    )
    rows = draw(st.lists(predictions, max_size=3))
    arm = Arm(label=f"a{draw(words)}", backbone=BackboneSpec(source="acme/base"), mode=mode)
    identity = RunIdentity(
        mode=mode,
        backbone_revision=draw(words),
        data_digest=draw(digests),
        training=arm_training(training, mode),
        seed=draw(st.integers(0, 2**31 - 1)),
    )
    chosen = draw(candidates)
    result = RunResult(
        address=identity.address,
        identity=identity,
        comparison="trial",
        arm=arm,
        backbone=PreparedBackbone(kind="hub", source="acme/base", revision=draw(words) or "r", model_type="llama"),
        data_source=draw(words),
        data_revision=draw(st.none() | words),
        classes=tuple(draw(st.lists(words, max_size=3))),
        num_examples=SplitSizes(train=1, validation=2, test=3),
        num_truncated_texts=draw(st.integers(0, 2**60)),
        chosen=chosen,
        candidates=(chosen,),
        start=draw(scores),
        best=draw(scores),
        last=draw(scores),
        test_best=draw(scores),
        test_last=draw(scores),
        proof=draw(
            st.builds(BackboneProof, weights_hash_before=digests, weights_hash_after=digests, num_parameters=st.just(1))
        ),
        device=draw(words),
        num_threads=1,
        tokens_per_batch=1,
        versions=draw(st.dictionaries(words, words, max_size=2)),
        image=draw(st.none() | words),
        curve_sha256=hashlib.sha256(encode_rows(curve)).hexdigest(),
        predictions_sha256=hashlib.sha256(encode_rows(rows)).hexdigest(),
    )
    return ArmRun(result=result, curve=curve), rows


def put(run: ArmRun, rows: list[Prediction]) -> RunRecords:
    """Leave a run in a store as a worker does."""
    store = ResultsStore("memory://properties")
    records = RunRecords(store, "trial", "a", 0)
    store.write_rows(records.curve, run.curve)
    store.write_rows(records.predictions, rows)
    store.write_record(records.result, run.result)
    return records


@few_or_many
def test_a_run_is_read_as_it_was_written(number: int) -> None:
    @given(runs())
    @examples(number)
    def check(drawn: tuple[ArmRun, list[Prediction]]) -> None:
        run, rows = drawn
        records = put(run, rows)

        again = read_run(records)

        assert again == run
        assert records.read_predictions() == rows
        sealed = records.store.read(records.result)
        records.store.write_record(records.result, again.result)
        assert records.store.read(records.result) == sealed

    check()


@few_or_many
@pytest.mark.parametrize("name", ["result", "curve", "predictions"])
def test_of_a_changed_run_nothing_is_read_that_was_never_measured(name: str, number: int) -> None:
    @given(st.data(), runs())
    @examples(number)
    def check(data: st.DataObject, drawn: tuple[ArmRun, list[Prediction]]) -> None:
        records = put(*drawn)
        path = getattr(records, name)
        original = records.store.read(path)
        assert original is not None
        records.store.write(path, data.draw(mutated_bytes(original) | st.binary()))

        try:
            run = read_run(records)
        except ResultError as error:
            assert f"{path.name}" in error.problem  # noqa: PT017 - either outcome is right
        else:
            assert run is None or (run, records.read_predictions()) == drawn

    check()

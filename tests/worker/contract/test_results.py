"""The names that results on disk have: a promise to those who keep them."""

import pytest
from pydantic import ValidationError

from worker.contract.config import SCHEMA_VERSION
from worker.contract.records import Record
from worker.contract.results import ArmState, Attempt, EvalPoint, Failure, Prediction, RunResult


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (EvalPoint, {"step", "validation_accuracy", "validation_loss", "train_accuracy", "train_loss"}),
        (Prediction, {"split", "example", "target", "last", "best"}),
        (
            Attempt,
            {
                "number",
                "started_at",
                "host",
                "ended_at",
                "exit_code",
                "problem",
                "remedy",
                "resumed_at_step",
                "fresh_since",
                "seconds_by_phase",
            },
        ),
        (Failure, {"exit_code", "problem", "remedy"}),
        (
            RunResult,
            {
                "schema_version",
                "address",
                "identity",
                "comparison",
                "arm",
                "backbone",
                "data_source",
                "data_revision",
                "classes",
                "num_examples",
                "num_truncated_texts",
                "chosen",
                "candidates",
                "start",
                "best",
                "last",
                "test_best",
                "test_last",
                "proof",
                "device",
                "num_threads",
                "tokens_per_batch",
                "versions",
                "image",
                "curve_sha256",
                "predictions_sha256",
            },
        ),
    ],
)
def test_the_fields_on_disk_are_fixed(form: type[Record], names: set[str]) -> None:
    assert set(form.model_fields) == names
    assert SCHEMA_VERSION == 1


def test_arm_states_are_fixed() -> None:
    states = {"waiting", "preparing", "queued", "running", "done", "reused", "failed", "cancelled"}

    assert {state.value for state in ArmState} == states
    assert {state.value for state in ArmState if state.is_final} == {"done", "reused", "failed", "cancelled"}


@pytest.mark.parametrize("accuracy", [-0.01, 1.01, 94.0])
def test_an_accuracy_is_a_ratio(accuracy: float) -> None:
    with pytest.raises(ValidationError, match="than or equal to"):
        EvalPoint(step=0, validation_accuracy=accuracy)

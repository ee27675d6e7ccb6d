"""From what training showed to the records that stay. Pure."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from worker.arm_data import LabelledSplits
from worker.contract.config import RunConfig
from worker.contract.results import BackboneProof, Prediction, RunResult, Score
from worker.contract.store import encode_rows
from worker.traces import Evaluations, Moment, RunTrace


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """What the training of one seed came to."""

    seed: int
    traces: tuple[RunTrace, ...]
    """One per candidate."""
    proof: BackboneProof
    num_truncated: int
    """Texts that were cut, over all splits."""
    tokens_per_batch: int
    """Of the forward passes that made features or evaluations."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a run was made: recorded, because bits depend on it."""

    device: str
    num_threads: int
    versions: dict[str, str]
    image: str | None


def predictions(chosen: RunTrace, labelled: LabelledSplits) -> list[Prediction]:
    """Return one row per held-out example, in the order of the splits."""
    return [
        *_split_predictions("validation", chosen.validation, labelled),
        *_split_predictions("test", chosen.test, labelled),
    ]


def _split_predictions(
    split: Literal["validation", "test"], evaluations: Evaluations, labelled: LabelledSplits
) -> Iterator[Prediction]:
    _, last = evaluations["last"]
    _, best = evaluations["best"]
    for example, at_last, at_best in zip(
        labelled.examples[split], last.predicted_N.tolist(), best.predicted_N.tolist(), strict=True
    ):
        yield Prediction(
            split=split,
            example=hashlib.sha256(example.text.encode()).hexdigest()[:16],
            target=example.target,
            last=at_last,
            best=at_best,
        )


def describe_run(
    config: RunConfig, outcome: SeedOutcome, chosen: RunTrace, rows: Sequence[Prediction], surroundings: Surroundings
) -> RunResult:
    """Return the result record of one seed."""
    identity = config.identity(outcome.seed)
    return RunResult(
        address=identity.address,
        identity=identity,
        comparison=config.comparison,
        arm=config.arm,
        backbone=config.backbone,
        data_source=config.data.source,
        data_revision=config.data.revision,
        classes=config.data.classes,
        num_examples=config.data.num_examples,
        num_truncated_texts=outcome.num_truncated,
        chosen=chosen.candidate(),
        candidates=tuple(trace.candidate() for trace in outcome.traces),
        start=_score(chosen.validation, "start"),
        best=_score(chosen.validation, "best"),
        last=_score(chosen.validation, "last"),
        test_best=_score(chosen.test, "best"),
        test_last=_score(chosen.test, "last"),
        proof=outcome.proof,
        device=surroundings.device,
        num_threads=surroundings.num_threads,
        tokens_per_batch=outcome.tokens_per_batch,
        versions=surroundings.versions,
        image=surroundings.image,
        curve_sha256=hashlib.sha256(encode_rows(chosen.points)).hexdigest(),
        predictions_sha256=hashlib.sha256(encode_rows(rows)).hexdigest(),
    )


def _score(evaluations: Evaluations, moment: Moment) -> Score:
    step, evaluation = evaluations[moment]
    return evaluation.score(step)

"""What a run leaves behind: its curve, its predictions, its result, and the record of each attempt."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from worker.contract.arms import Arm
from worker.contract.config import SCHEMA_VERSION, Digest, PreparedBackbone, RunIdentity, SplitSizes
from worker.contract.records import Record, content_hash


class EvalPoint(Record):
    """What was measured at one step: a row of ``curve.jsonl``, one per step from 0.

    Validation is measured after update number ``step``; the train batch is measured by that update, before it is made.
    """

    step: int = Field(ge=0, description="Updates so far; 0 is the untrained head.")
    validation_accuracy: float | None = Field(default=None, ge=0, le=1, description="None where not scored.")
    validation_loss: float | None = Field(default=None, description="Mean cross-entropy, nats per example.")
    train_accuracy: float | None = Field(default=None, ge=0, le=1, description="On this step's batch; None at step 0.")
    train_loss: float | None = Field(default=None, description="On this step's batch, nats per example.")


class Prediction(Record):
    """What the model said of one held-out example: a row of ``predictions.jsonl``."""

    split: Literal["validation", "test"] = Field(description="Where the example is held out.")
    example: str = Field(description="First 16 hex digits of the text's SHA-256: pairs examples across arms.")
    target: int = Field(ge=0, description="Index of the true class.")
    last: int = Field(ge=0, description="Class predicted after the last step.")
    best: int = Field(ge=0, description="Class predicted at the best validation step.")


class Score(Record):
    """Accuracy and loss of one split at one step."""

    step: int = Field(ge=0, description="Updates made before.")
    accuracy: float = Field(ge=0, le=1, description="Correct examples over all examples.")
    loss: float = Field(description="Mean cross-entropy, nats per example.")


class Candidate(Record):
    """One pair of learning rates and how far it came."""

    head_lr: float = Field(description="Peak learning rate of the head.")
    backbone_lr: float | None = Field(description="None for a frozen arm.")
    last: Score | None = Field(description="Validation after the last step; None if the loss became non-finite.")
    diverged_at_step: int | None = Field(default=None, description="First update with a non-finite loss.")


class BackboneProof(Record):
    """Evidence of what training did to the backbone: SHA-256 over every weight and buffer, before and after.

    Frozen: equal, taken around the pass that made the features, which may have been an earlier run's. Live: different.
    """

    weights_hash_before: Digest = Field(description="Before anything was passed through it.")
    weights_hash_after: Digest = Field(description="After the last pass or the last update.")
    num_parameters: int = Field(ge=1, description="Of the backbone.")
    num_trained_parameters: int = Field(ge=1, description="Of head and, if live, backbone.")


class RunResult(Record):
    """The outcome of one (arm, seed): ``result.json``, written last, so that its presence means completeness.

    Holds no time and no host name, so that two runs of the same experiment can be compared byte by byte.
    On disk it carries one more key, ``seal``: the hash of the others, so that a changed result is not taken for one.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    address: Digest = Field(description="Content address: the hash of ``identity``.")
    identity: RunIdentity = Field(description="What the curve depends on.")
    comparison: str = Field(description="Slug of the plan's name.")
    arm: Arm = Field(description="The candidate, as the plan names it.")
    backbone: PreparedBackbone = Field(description="The backbone, pinned.")
    data_source: str = Field(description="As in the plan.")
    data_revision: str | None = Field(description="Commit or file hash; None for builtin.")
    classes: tuple[str, ...] = Field(description="Class names in the order of their indices.")
    num_examples: SplitSizes = Field(description="Of each split.")
    num_truncated_texts: int = Field(ge=0, description="Texts longer than max_tokens, over all splits.")
    chosen: Candidate = Field(description="The learning rates whose curve this is.")
    candidates: tuple[Candidate, ...] = Field(description="All pairs of learning rates that were tried.")
    start: Score = Field(description="Validation with the untrained head.")
    best: Score = Field(description="Validation at its best step; the first of equals.")
    last: Score = Field(description="Validation after the last step.")
    test_best: Score = Field(description="Test at the best validation step.")
    test_last: Score = Field(description="Test after the last step.")
    proof: BackboneProof = Field(description="Hashes of the backbone before and after.")
    device: str = Field(description="Device model.")
    num_threads: int = Field(ge=1, description="CPU threads of the worker.")
    tokens_per_batch: int = Field(ge=1, description="Padded tokens per batch where texts only passed forward.")
    versions: dict[str, str] = Field(description="Packages that made this.")
    image: str | None = Field(description="Container image digest, where there is one.")
    curve_sha256: Digest = Field(description="Of the bytes of curve.jsonl.")
    predictions_sha256: Digest = Field(description="Of the bytes of predictions.jsonl.")

    @model_validator(mode="before")
    @classmethod
    def _check_seal(cls, document: object) -> object:
        if isinstance(document, dict) and "seal" in document:
            document = dict(document)
            if document.pop("seal") != content_hash(document):
                msg = "the text was changed after it was sealed"
                raise ValueError(msg)
        return document

    @model_serializer(mode="wrap")
    def _add_seal(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        document: dict[str, Any] = serialize(self)
        return document | {"seal": content_hash(document)} if info.mode == "json" else document


class Attempt(Record):
    """One start of a worker for one seed: a row of ``attempts.jsonl``. Rewritten at the end with what came of it."""

    number: int = Field(ge=1, description="Counted from 1 over all starts.")
    started_at: str = Field(description="UTC, ISO 8601.")
    host: str = Field(description="Name of the machine.")
    ended_at: str | None = Field(default=None, description="None while running, and for ever if it was killed.")
    exit_code: int | None = Field(default=None, description="As in ExitCode.")
    problem: str | None = Field(default=None, description="Why it failed; None if it did not.")
    remedy: str | None = Field(default=None, description="What to do about it; None if it did not fail.")
    resumed_at_step: int | None = Field(
        default=None, description="Step of the checkpoint that it went on from; None if it began anew."
    )
    fresh_since: float | None = Field(
        default=None, description="As in the worker's execution: results from before were not used."
    )
    seconds_by_phase: dict[str, float] = Field(default_factory=dict, description="Seconds spent in each phase.")


class Progress(Record):
    """How far a worker is: ``runs/<arm>/progress.json``, rewritten while it trains."""

    started_at: float = Field(description="Unix time at which this worker started, seconds.")
    updated_at: float = Field(description="Unix time of this record, seconds.")
    num_updates: int = Field(ge=0, description="Optimizer updates so far, over all seeds and candidates.")
    num_planned: int = Field(ge=1, description="Optimizer updates in all.")
    stop_seconds: float = Field(
        default=10.0,
        ge=0,
        description="Seconds that this worker may take to end when it is told to, checkpoint included.",
    )


class Failure(Record):
    """Why a worker failed: its last words, read by whoever started it."""

    exit_code: int = Field(description="As in ExitCode; minus the signal's number if the worker was killed.")
    problem: str = Field(description="What was tried, on what, and what came back.")
    remedy: str = Field(description="What to do next.")


class ArmState(StrEnum):
    """Where an arm is. The last four are final."""

    WAITING = "waiting"
    PREPARING = "preparing"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the arm will stay in this state."""
        return self in {ArmState.DONE, ArmState.REUSED, ArmState.FAILED, ArmState.CANCELLED}


class ArmStatus(Record):
    """An arm as the flow side sees it: ``runs/<arm>/status.json``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    state: ArmState = Field(description="Where the arm is.")
    detail: str = Field(default="", description="What it waits for, or what happens to it, in words.")
    flow_run: str = Field(description="Id of the Prefect flow run that wrote this.")
    seeds: tuple[int, ...] = Field(description="All seeds of the arm.")
    reused_seeds: tuple[int, ...] = Field(default=(), description="Seeds whose result was already there.")
    updated_at: float = Field(description="Unix time of this record, seconds.")
    queued_at: float | None = Field(default=None, description="Unix time, seconds.")
    started_at: float | None = Field(default=None, description="Unix time, seconds.")
    ended_at: float | None = Field(default=None, description="Unix time, seconds.")
    failure: Failure | None = Field(default=None, description="Why it failed; None if it did not.")

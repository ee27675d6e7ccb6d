"""Arms in a results store, as the flow and workers leave them behind, without a flow and without workers."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from flows.comparison import ArmRun
from worker.contract.arms import Arm, Mode
from worker.contract.config import (
    Execution,
    PreparedBackbone,
    PreparedData,
    RunConfig,
    RunIdentity,
    SplitSizes,
    arm_training,
)
from worker.contract.plan import Plan
from worker.contract.results import (
    ArmState,
    ArmStatus,
    Attempt,
    BackboneProof,
    Candidate,
    EvalPoint,
    Prediction,
    Progress,
    RunResult,
    Score,
)
from worker.contract.store import PROGRESS_FILE, ResultsStore, RunRecords, arm_folder, encode_rows

PREDICTIONS = encode_rows([Prediction(split="test", example="0" * 16, target=0, last=0, best=0)])

PREPARED_DATA = PreparedData(
    source="builtin:language-names",
    revision=None,
    digest="d" * 64,
    classes=("Danish", "Finnish", "Polish", "Turkish"),
    num_examples=SplitSizes(train=3520, validation=512, test=500),
    num_train_available=4000,
    num_duplicates_dropped=0,
    num_conflicts_dropped=0,
    majority_accuracy=0.28125,
)


def prepared_backbone(arm: Arm) -> PreparedBackbone:
    """Return an arm's backbone as it would be on disk."""
    return PreparedBackbone(kind="hub", source=arm.backbone.source, revision="c" * 40, model_type="llama")


def curve_of(accuracies: Sequence[float | None]) -> tuple[EvalPoint, ...]:
    """Return a curve with one accuracy per step, from step 0."""
    return tuple(EvalPoint(step=step, validation_accuracy=value) for step, value in enumerate(accuracies))


def finished_run(
    plan: Plan,
    arm: Arm,
    accuracies: Sequence[float],
    *,
    seed: int = 0,
    data: PreparedData = PREPARED_DATA,
    device: str = "cpu",
) -> ArmRun:
    """Return a run whose curve has one accuracy per step, with its result."""
    curve, backbone = curve_of(accuracies), prepared_backbone(arm)
    identity = RunIdentity(
        mode=arm.mode,
        backbone_revision=backbone.revision,
        data_digest=data.digest,
        training=arm_training(plan.training, arm.mode),
        seed=seed,
    )
    last = Score(step=len(accuracies) - 1, accuracy=accuracies[-1], loss=0.5)
    chosen = Candidate(head_lr=1e-2, backbone_lr=None, last=last)
    result = RunResult(
        address=identity.address,
        identity=identity,
        comparison=plan.comparison,
        arm=arm,
        backbone=backbone,
        data_source=data.source,
        data_revision=None,
        classes=data.classes,
        num_examples=data.num_examples,
        num_truncated_texts=0,
        chosen=chosen,
        candidates=(chosen,),
        start=Score(step=0, accuracy=accuracies[0], loss=1.4),
        best=last,
        last=last,
        test_best=Score(step=2, accuracy=0.625, loss=0.5),
        test_last=Score(step=4, accuracy=0.5, loss=0.5),
        proof=BackboneProof(
            weights_hash_before="1" * 64,
            weights_hash_after="1" * 64,
            num_parameters=2,
            num_trained_parameters=1,
        ),
        device=device,
        num_threads=1,
        tokens_per_batch=4096,
        versions={},
        image=None,
        curve_sha256=hashlib.sha256(encode_rows(curve)).hexdigest(),
        predictions_sha256=hashlib.sha256(PREDICTIONS).hexdigest(),
    )
    return ArmRun(result=result, curve=curve)


def put_finished_run(store: ResultsStore, run: ArmRun) -> None:
    """Leave a finished run in a store as its worker does."""
    result = run.result
    records = RunRecords(store, result.comparison, result.arm.slug, result.identity.seed)
    store.write_rows(records.curve, run.curve)
    store.write(records.predictions, PREDICTIONS)
    store.write_record(records.result, result)


@dataclass(frozen=True)
class StoredArms:
    """One comparison in a results store, to be written piece by piece."""

    store: ResultsStore
    plan: Plan

    def put_plan(self) -> None:
        """Put the plan down."""
        self.store.write_record(PurePosixPath(self.plan.comparison, "plan.json"), self.plan)

    def put_status(self, arm: Arm, state: ArmState, *, at: float, **times: object) -> None:
        """Put an arm into a state."""
        status = ArmStatus.model_validate(
            {"state": state, "flow_run": "run", "seeds": self.plan.seeds, "updated_at": at} | times
        )
        self.store.write_record(arm_folder(self.plan.comparison, arm.slug) / "status.json", status)

    def put_progress(self, arm: Arm, num_updates: int, *, at: float, started_at: float) -> None:
        """Say how far an arm's worker is."""
        num_planned = len(self.plan.seeds) * self.plan.training.steps
        progress = Progress(started_at=started_at, updated_at=at, num_updates=num_updates, num_planned=num_planned)
        self.store.write_record(arm_folder(self.plan.comparison, arm.slug) / PROGRESS_FILE, progress)

    def put_attempts(self, arm: Arm, seed: int, num_attempts: int) -> None:
        """Say how often a run was started, and with what it was told to do."""
        records = RunRecords(self.store, self.plan.comparison, arm.slug, seed)
        rows = [Attempt(number=number + 1, started_at="then", host="here") for number in range(num_attempts)]
        self.store.write_rows(records.attempts, rows)
        self.store.write_record(records.config, self._config(arm, seed))

    def put_curve(self, arm: Arm, seed: int, accuracies: Sequence[float | None]) -> None:
        """Put down a curve so far."""
        path = RunRecords(self.store, self.plan.comparison, arm.slug, seed).curve
        self.store.write_rows(path, curve_of(accuracies))

    def put_finished(self, curves: Mapping[str, Sequence[Sequence[float]]], *, at: float) -> None:
        """Put down arms that are done, by label: one curve per seed."""
        for arm in self.plan.arms:
            for seed, accuracies in zip(self.plan.seeds, curves.get(arm.label, ()), strict=False):
                put_finished_run(self.store, finished_run(self.plan, arm, accuracies, seed=seed))
                self.put_attempts(arm, seed, 1)
            if arm.label in curves:
                num_updates = len(self.plan.seeds) * self.plan.training.steps
                self.put_progress(arm, num_updates, at=at, started_at=at - 60)
                times = {"queued_at": at - 70, "started_at": at - 65, "ended_at": at}
                self.put_status(arm, ArmState.DONE, at=at, **times)

    def _config(self, arm: Arm, seed: int) -> RunConfig:
        return RunConfig(
            comparison=self.plan.comparison,
            arm=arm,
            seeds=(seed,),
            data=PREPARED_DATA,
            backbone=prepared_backbone(arm),
            training=arm_training(self.plan.training, Mode(arm.mode)),
            execution=Execution(results=self.store.url, cache="cache"),
        )

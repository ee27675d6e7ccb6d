"""Plans, runs and stores made by hand: what a worker would have left behind, without a worker."""

import hashlib
from collections.abc import Callable, Sequence

import pytest

from flows.comparison import ArmRun, Comparison, build_comparison
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import PreparedBackbone, PreparedData, RunIdentity, SplitSizes, arm_training
from worker.contract.plan import DataSpec, Plan, TrainingSettings
from worker.contract.results import BackboneProof, Candidate, EvalPoint, Prediction, RunResult, Score
from worker.contract.store import ResultsStore, RunRecords, encode_rows

PREDICTIONS = encode_rows([Prediction(split="test", example="0" * 16, target=0, last=0, best=0)])

PlanMaker = Callable[..., Plan]
RunMaker = Callable[..., ArmRun]
ComparisonMaker = Callable[..., Comparison]


@pytest.fixture
def data() -> PreparedData:
    return PreparedData(
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


@pytest.fixture
def make_plan() -> PlanMaker:
    """Labels that start with Live make live arms; steps follow from the curve that the runs will have."""

    def make(*labels: str, steps: int = 4, seeds: tuple[int, ...] = (0,), backbone: str = "acme/base") -> Plan:
        arms = tuple(
            Arm(
                label=label,
                backbone=BackboneSpec(source=backbone),
                mode=Mode.LIVE if label.startswith("Live") else Mode.FROZEN,
            )
            for label in labels
        )
        training = TrainingSettings(steps=steps, warmup_steps=0)
        return Plan(name="First Try", seeds=seeds, data=DataSpec(source="news.csv"), training=training, arms=arms)

    return make


@pytest.fixture
def make_run(data: PreparedData) -> RunMaker:
    """A run of the plan's arm ``label`` whose curve has one accuracy per step, from step 0."""

    def make(plan: Plan, label: str, accuracies: Sequence[float], *, seed: int = 0, device: str = "cpu") -> ArmRun:
        arm = next(arm for arm in plan.arms if arm.label == label)
        curve = tuple(EvalPoint(step=step, validation_accuracy=value) for step, value in enumerate(accuracies))
        backbone = PreparedBackbone(kind="hub", source=arm.backbone.source, revision="c" * 40, model_type="llama")
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

    return make


@pytest.fixture
def make_comparison(data: PreparedData, make_plan: PlanMaker, make_run: RunMaker) -> ComparisonMaker:
    """A comparison of each label's curves, one per seed; an arm without a curve is missing."""

    def make(curves_by_label: dict[str, list[list[float]]], *, backbone: str = "acme/base") -> Comparison:
        curves = [curve for curves in curves_by_label.values() for curve in curves]
        seeds = tuple(range(max(1, *map(len, curves_by_label.values()))))
        plan = make_plan(*curves_by_label, steps=max(map(len, curves), default=5) - 1, seeds=seeds, backbone=backbone)
        runs = {
            arm.slug: [make_run(plan, arm.label, curve, seed=n) for n, curve in enumerate(curves_by_label[arm.label])]
            for arm in plan.arms
        }
        return build_comparison(plan, data, runs, {})

    return make


@pytest.fixture
def put_run() -> Callable[[ResultsStore, ArmRun], None]:
    """Leave a run in a store as a worker does."""

    def put(store: ResultsStore, run: ArmRun) -> None:
        result = run.result
        records = RunRecords(store, result.comparison, result.arm.slug, result.identity.seed)
        store.write_rows(records.curve, run.curve)
        store.write(records.predictions, PREDICTIONS)
        store.write_record(records.result, result)

    return put

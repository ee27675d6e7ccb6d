"""Whole arms: what must be true of a curve, whatever it was made with.

Shapes: ``N`` examples, ``B`` batch, ``D`` features, ``C`` classes.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from tiny_repositories import make_repository
from worker.backbone import load_body, prepare_backbone
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import PreparedBackbone, PreparedData, RunConfig
from worker.contract.errors import NonFiniteLossError
from worker.contract.plan import TrainingSettings
from worker.contract.results import EvalPoint, RunResult
from worker.contract.store import RunRecords
from worker.data import load_split
from worker.model import PooledBackbone, new_head, weights_hash
from worker.schedule import batch_rows
from worker.splits import SPLITS

Train = Callable[[RunConfig], RunRecords]
MakeConfig = Callable[..., RunConfig]
both_modes = pytest.mark.parametrize("mode", list(Mode))
EXPLODING = {"steps": 60, "warmup_steps": 0, "schedule": "constant", "weight_decay": 1.0, "max_grad_norm": 1e30}
"""With a learning rate of 10, decay multiplies the weights by -9 at each update."""


def result_of(records: RunRecords) -> RunResult:
    result = records.read_result()
    assert result is not None
    return result


def bytes_of(records: RunRecords) -> list[bytes | None]:
    return [records.store.read(path) for path in (records.curve, records.predictions, records.result)]


def accuracies_of(points: Sequence[EvalPoint]) -> list[float]:
    return [point.validation_accuracy for point in points if point.validation_accuracy is not None]


def assert_same_curve(first: Sequence[EvalPoint], second: Sequence[EvalPoint], num_examples: int) -> None:
    """Equal within 2/n at every step, which is what float error may turn over."""
    pairs = list(zip(accuracies_of(first), accuracies_of(second), strict=True))
    assert max(abs(one - other) for one, other in pairs) <= 2 / num_examples
    for one, other in zip(first, second, strict=True):
        assert one.validation_loss == pytest.approx(other.validation_loss, abs=1e-3)
        assert one.train_loss == pytest.approx(other.train_loss, abs=1e-3)


@both_modes
def test_the_same_run_gives_the_same_bytes(make_config: MakeConfig, train: Train, tmp_path: Path, mode: Mode) -> None:
    first = bytes_of(train(make_config(mode)))
    torch.manual_seed(99)
    second = bytes_of(train(make_config(mode, execution={"results": str(tmp_path / "again")})))

    assert None not in first
    assert first == second


@both_modes
def test_dropout_is_drawn_from_the_seed_and_never_in_a_frozen_backbone(
    make_config: MakeConfig, train: Train, tmp_path: Path, data: PreparedData, cache: Path, mode: Mode
) -> None:
    folder = make_repository(tmp_path / "dropping", "llama", seed=1)
    document = json.loads((folder / "config.json").read_text("utf-8"))
    curves: list[list[EvalPoint]] = []
    for dropout in (0.0, 0.5, 0.5):
        (folder / "config.json").write_text(json.dumps(document | {"attention_dropout": dropout}), "utf-8")
        backbone = prepare_backbone(BackboneSpec(source=str(folder)), data, cache)
        torch.manual_seed(len(curves))
        curves.append(train(make_config(mode, backbone=backbone, steps=4)).read_curve())

    assert curves[1] == curves[2]
    assert (curves[0] == curves[1]) == (mode is Mode.FROZEN)


@both_modes
def test_a_result_is_told_in_full_by_its_curve_and_predictions(
    make_config: MakeConfig, train: Train, data: PreparedData, cache: Path, mode: Mode
) -> None:
    config = make_config(mode, eval_every=5)
    records = train(config)
    result, curve, rows = result_of(records), records.read_curve(), records.read_predictions()
    scored = {point.step: point for point in curve if point.validation_accuracy is not None}

    assert [point.step for point in curve] == list(range(13))
    assert list(scored) == [0, 5, 10, 12]
    for score in (result.start, result.best, result.last):
        assert (score.accuracy, score.loss) == (
            scored[score.step].validation_accuracy,
            scored[score.step].validation_loss,
        )
    assert (result.start.step, result.last.step, result.test_last.step) == (0, 12, 12)
    assert result.best.accuracy == max(accuracies_of(curve))
    assert result.test_best.step == result.best.step
    for split, last, best in (
        ("validation", result.last, result.best),
        ("test", result.test_last, result.test_best),
    ):
        of_split = [row for row in rows if row.split == split]
        assert last.accuracy == sum(row.last == row.target for row in of_split) / 40
        assert best.accuracy == sum(row.best == row.target for row in of_split) / 40
    examples = [*load_split(cache, data, "validation"), *load_split(cache, data, "test")]
    assert [(row.example, row.target) for row in rows] == [
        (hashlib.sha256(example.text.encode()).hexdigest()[:16], example.target) for example in examples
    ]
    assert result.curve_sha256 == hashlib.sha256(records.store.read(records.curve) or b"").hexdigest()
    assert result.predictions_sha256 == hashlib.sha256(records.store.read(records.predictions) or b"").hexdigest()
    assert result.address == config.identity(0).address
    assert (result.num_threads, result.classes) == (1, data.classes)


def test_a_frozen_arm_leaves_every_weight_as_it_was(
    make_config: MakeConfig, train: Train, backbone: PreparedBackbone, backbone_folder: Path, cache: Path
) -> None:
    before = {path: path.read_bytes() for path in backbone_folder.iterdir()}
    proof = result_of(train(make_config(Mode.FROZEN, execution={"use_feature_cache": False}))).proof
    digest = weights_hash(PooledBackbone(load_body(cache, backbone, max_tokens=48), is_frozen=True))

    assert proof.weights_hash_before == proof.weights_hash_after == digest
    assert proof.num_trained_parameters == (32 + 1) * 4
    assert {path: path.read_bytes() for path in backbone_folder.iterdir()} == before


def test_a_live_arm_changes_its_backbone_and_not_the_files(
    make_config: MakeConfig, train: Train, backbone_folder: Path
) -> None:
    before = {path: path.read_bytes() for path in backbone_folder.iterdir()}
    live = result_of(train(make_config(Mode.LIVE))).proof
    frozen = result_of(train(make_config(Mode.FROZEN))).proof

    assert live.weights_hash_before == frozen.weights_hash_before
    assert live.weights_hash_after != live.weights_hash_before
    assert live.num_trained_parameters == live.num_parameters + frozen.num_trained_parameters
    assert {path: path.read_bytes() for path in backbone_folder.iterdir()} == before


def test_live_and_frozen_start_from_the_same_untrained_model(make_config: MakeConfig, train: Train) -> None:
    (live, *_), (frozen, *_) = (train(make_config(mode, seeds=(5,))).read_curve() for mode in (Mode.LIVE, Mode.FROZEN))

    assert live.validation_accuracy == frozen.validation_accuracy
    assert live.validation_loss == pytest.approx(frozen.validation_loss, abs=1e-5)


def test_live_and_frozen_see_the_same_first_batch(make_config: MakeConfig, train: Train) -> None:
    live, frozen = (train(make_config(mode, seeds=(5,))).read_curve()[1] for mode in (Mode.LIVE, Mode.FROZEN))

    assert live.train_accuracy == frozen.train_accuracy
    assert live.train_loss == pytest.approx(frozen.train_loss, abs=1e-5)


@both_modes
@pytest.mark.parametrize("execution", [{"use_feature_cache": False}, {"tokens_per_batch": 64}])
def test_the_curve_does_not_depend_on_the_cache_or_the_batch_plan(
    make_config: MakeConfig, train: Train, tmp_path: Path, mode: Mode, execution: dict[str, object]
) -> None:
    first = train(make_config(mode)).read_curve()
    fresh = {"use_feature_cache": False, "results": str(tmp_path / "other"), **execution}
    records = train(make_config(mode, execution=fresh))

    assert_same_curve(records.read_curve(), first, 40)
    assert result_of(records).tokens_per_batch == execution.get("tokens_per_batch", 4096)


def test_features_that_were_kept_give_the_same_bytes_as_fresh_ones(
    make_config: MakeConfig, train: Train, tmp_path: Path
) -> None:
    train(make_config(Mode.FROZEN))
    kept = bytes_of(train(make_config(Mode.FROZEN)))
    fresh = {"use_feature_cache": False, "results": str(tmp_path / "other")}

    assert bytes_of(train(make_config(Mode.FROZEN, execution=fresh))) == kept


def lr_share(step: int, training: TrainingSettings) -> float:
    if step <= training.warmup_steps:
        return step / training.warmup_steps
    done = (step - training.warmup_steps) / (training.steps - training.warmup_steps)
    return training.final_lr_ratio + (1 - training.final_lr_ratio) * 0.5 * (1 + math.cos(math.pi * done))


def naive_curve(config: RunConfig, folder: Path, cache: Path) -> list[EvalPoint]:
    """What a frozen arm means, without any economy: each text alone through the whole model, at every step again."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    examples = {split: load_split(cache, config.data, split) for split in SPLITS}
    training, head = config.training, new_head(32, 4, seed=0)

    def embed(text: str) -> Tensor:
        with torch.no_grad():
            hidden: Tensor = model(
                **tokenizer(text, return_tensors="pt", truncation=True, max_length=training.max_tokens)
            ).last_hidden_state
        return hidden[0].mean(dim=0)

    train_ND = torch.stack([embed(example.text) for example in examples["train"]])
    mean_D, scale_D = train_ND.mean(dim=0), train_ND.std(dim=0, correction=0)

    def score(rows: Sequence[int], split: str) -> tuple[Tensor, float]:
        chosen = [examples["train" if split == "train" else "validation"][row] for row in rows]
        logits_NC = head((torch.stack([embed(example.text) for example in chosen]) - mean_D) / scale_D)
        target_N = torch.tensor([example.target for example in chosen])
        accuracy = (logits_NC.argmax(dim=1) == target_N).float().mean().item()
        return nn.functional.cross_entropy(logits_NC, target_N), accuracy

    decays = [{"params": [head.weight], "weight_decay": training.weight_decay}]
    optimizer = torch.optim.AdamW([*decays, {"params": [head.bias], "weight_decay": 0.0}])
    points = []
    for step in range(training.steps + 1):
        train_loss = train_accuracy = None
        if step:
            loss, train_accuracy = score(batch_rows(160, 8, training.steps, 0)[step - 1].tolist(), "train")
            train_loss = loss.item()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), training.max_grad_norm)
            for group in optimizer.param_groups:
                group["lr"] = training.head_lr[0] * lr_share(step, training)
            optimizer.step()
        loss, accuracy = score(range(40), "validation")
        points.append(
            EvalPoint(
                step=step,
                validation_accuracy=round(accuracy, 6),
                validation_loss=loss.item(),
                train_accuracy=train_accuracy,
                train_loss=train_loss,
            )
        )
    return points


def test_a_frozen_arm_has_the_curve_of_the_naive_loop(
    make_config: MakeConfig, train: Train, backbone_folder: Path, cache: Path
) -> None:
    config = make_config(Mode.FROZEN, steps=8)
    curve = train(config).read_curve()
    naive = naive_curve(config, backbone_folder, cache)

    assert_same_curve(curve, naive, 40)
    assert [point.train_accuracy for point in curve] == [point.train_accuracy for point in naive]
    assert accuracies_of(curve)[-1] > accuracies_of(curve)[0]


@both_modes
def test_seeds_that_are_trained_together_have_the_curves_they_have_alone(
    make_config: MakeConfig,
    train: Train,
    records_of: Callable[..., RunRecords],
    tmp_path: Path,
    mode: Mode,
) -> None:
    together = make_config(mode, seeds=(3, 0, 7), steps=6)
    train(together)
    alone = {"results": str(tmp_path / "alone")}
    curves = set()
    for seed in together.seeds:
        expected = bytes_of(train(make_config(mode, seeds=(seed,), steps=6, execution=alone)))
        assert bytes_of(records_of(together, seed)) == expected
        curves.add(expected[0])

    assert len(curves) == 3


@both_modes
def test_of_several_learning_rates_the_best_on_validation_counts_and_all_are_recorded(
    make_config: MakeConfig, train: Train, tmp_path: Path, mode: Mode
) -> None:
    rates = {"head_lr": (1e-4, 0.1), "backbone_lr": (1e-5, 3e-3) if mode is Mode.LIVE else ()}
    records = train(make_config(mode, **rates))
    result = result_of(records)
    pairs = {(candidate.head_lr, candidate.backbone_lr) for candidate in result.candidates}
    ranks = {
        (-candidate.last.accuracy, candidate.last.loss): candidate
        for candidate in result.candidates
        if candidate.last is not None
    }
    chosen = {"head_lr": result.chosen.head_lr, "backbone_lr": result.chosen.backbone_lr or ()}
    alone = train(make_config(mode, execution={"results": str(tmp_path / "alone")}, **chosen))

    assert pairs == set(product(rates["head_lr"], rates["backbone_lr"] or (None,)))
    assert len(result.candidates) == len(pairs) == len(ranks)
    assert result.chosen == ranks[min(ranks)]
    assert result.chosen.last == result.last
    assert records.read_curve() == alone.read_curve()
    assert records.read_predictions() == alone.read_predictions()
    assert result.proof == result_of(alone).proof


def test_a_candidate_that_diverges_is_recorded_and_does_not_count(make_config: MakeConfig, train: Train) -> None:
    result = result_of(train(make_config(Mode.FROZEN, head_lr=(10.0, 0.01), **EXPLODING)))
    wild, sound = result.candidates

    assert wild.last is None
    assert wild.diverged_at_step is not None
    assert result.chosen == sound


@pytest.mark.parametrize(("mode", "rates"), [(Mode.FROZEN, {}), (Mode.LIVE, {"backbone_lr": 10.0})])
def test_an_arm_whose_candidates_all_diverge_ends_with_code_44_and_no_result(
    make_config: MakeConfig, train: Train, records_of: Callable[..., RunRecords], mode: Mode, rates: dict[str, float]
) -> None:
    config = make_config(mode, head_lr=10.0, execution={"flush_seconds": 0}, **rates, **EXPLODING)
    with pytest.raises(NonFiniteLossError, match=r"Seed 0: .*head_lr 10.* at step \d+"):
        train(config)
    records = records_of(config)
    (attempt,) = records.read_attempts()

    assert attempt.exit_code == 44
    assert records.read_result() is None
    assert records.read_curve()[0].step == 0
    assert all(math.isfinite(point.validation_loss or 0) for point in records.read_curve())


@pytest.fixture
def broken_backbone(tmp_path: Path, data: PreparedData, cache: Path) -> PreparedBackbone:
    """A backbone that says nothing but NaN."""
    folder = make_repository(tmp_path / "broken", "llama")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"].fill_(torch.nan)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    prepared = prepare_backbone(BackboneSpec(source=str(folder)), data, cache)
    assert prepared is not None
    return prepared


@both_modes
def test_a_backbone_whose_features_are_not_finite_ends_with_code_44(
    make_config: MakeConfig,
    train: Train,
    records_of: Callable[..., RunRecords],
    broken_backbone: PreparedBackbone,
    mode: Mode,
) -> None:
    config = make_config(mode, backbone=broken_backbone)
    with pytest.raises(NonFiniteLossError, match="at step 0"):
        train(config)

    assert records_of(config).read_attempts()[0].exit_code == 44


def test_a_seed_that_diverges_does_not_take_the_others_along(
    make_config: MakeConfig, train: Train, records_of: Callable[..., RunRecords]
) -> None:
    slowly = EXPLODING | {"head_lr": 3.0, "steps": 200}  # the weights double at each update
    steps_by_seed = {}
    for seed in range(32):  # until two of them diverge at different steps
        with pytest.raises(NonFiniteLossError) as caught:
            train(make_config(Mode.FROZEN, seeds=(seed,), **slowly))
        steps_by_seed[seed] = int(caught.value.problem.rsplit("step ", 1)[1].rstrip(")."))
        if len(set(steps_by_seed.values())) > 1:
            break
    first, *_, last = sorted(steps_by_seed, key=lambda seed: steps_by_seed[seed])
    assert steps_by_seed[first] < steps_by_seed[last], "the seeds that were tried diverge at the same step"
    config = make_config(Mode.FROZEN, seeds=(first, last), **(slowly | {"steps": steps_by_seed[last] - 1}))
    with pytest.raises(NonFiniteLossError, match=f"Seed {first}"):
        train(config)

    assert records_of(config, first).read_result() is None
    assert records_of(config, last).read_result() is not None
    assert [records_of(config, seed).read_attempts()[-1].exit_code for seed in (first, last)] == [44, 0]

"""A training that is stopped at whatever moment goes on, and ends with the bytes of one that was not."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from accelerate import Accelerator

from worker.__main__ import run
from worker.arm_data import load_arm_tokens, load_labelled_splits
from worker.arm_lock import only_worker_of
from worker.backbone import load_body, prepare_backbone
from worker.checkpoint import CheckpointFolder
from worker.contract.arms import BackboneSpec, Mode
from worker.contract.config import PreparedBackbone, PreparedData, RunConfig
from worker.contract.errors import ComparisonBusyError, ResultError
from worker.contract.plan import TrainingSettings
from worker.contract.store import RunRecords
from worker.features import extract_features
from worker.frozen import FrozenTrainer
from worker.lifecycle import Terminated
from worker.live import LiveSplits, LiveTrainer
from worker.model import PooledBackbone, Standardise, TextClassifier, new_head
from worker.recorder import RunRecorder
from worker.splits import SPLITS
from worker.traces import RunKey, RunTrace
from worker.trainer import Trainer, train_runs

MakeConfig = Callable[..., RunConfig]
Answer = TypeVar("Answer")
SETTINGS = TrainingSettings(
    steps=4, batch_size=8, warmup_steps=2, max_tokens=48, eval_every=3, head_lr=(0.05,), backbone_lr=(1e-3,)
)


class Stopper:
    """Ends what it is put into when it is passed for the n-th time, as a signal would."""

    def __init__(self, stop_at: int | None) -> None:
        self.num_passed = 0
        self.stop_at = stop_at

    def pass_by(self) -> None:
        self.num_passed += 1
        if self.num_passed == self.stop_at:
            raise Terminated("SIGTERM")

    def before_and_after(self, call: Callable[..., Answer]) -> Callable[..., Answer]:
        def stop_or_call(*arguments: object) -> Answer:
            self.pass_by()
            answer = call(*arguments)
            self.pass_by()
            return answer

        return stop_or_call


def train_with_stops(make_trainer: Callable[[], Trainer], folder: Path, stopper: Stopper) -> list[RunTrace]:
    """Train, stop at one moment, and go on with a trainer that knows nothing of the first."""
    checkpoints = CheckpointFolder(folder, interval_seconds=3600)
    trainer = make_trainer()
    for name in ("try_batch", "evaluate", "evaluate_best", "state"):
        setattr(trainer, name, stopper.before_and_after(getattr(trainer, name)))
    try:
        return train_runs(trainer, SETTINGS, lambda _step, _traces: stopper.pass_by(), checkpoints)
    except Terminated:
        return train_with_stops(make_trainer, folder, Stopper(None))


def told_by(trace: RunTrace) -> list[object]:
    """Everything that a trace shows, to be compared bit by bit."""
    evaluations = [
        (moment, step, each.accuracy, each.loss, each.predicted_N.tolist())
        for of_split in (trace.validation, trace.test)
        for moment, (step, each) in of_split.items()
    ]
    return [trace.key, trace.points, trace.diverged_at_step, evaluations]


def assert_every_moment_will_do(make_trainer: Callable[[], Trainer], tmp_path: Path) -> None:
    counter = Stopper(None)
    undisturbed = list(map(told_by, train_with_stops(make_trainer, tmp_path / "0", counter)))
    assert counter.num_passed > 4 * 2 + 4 * 2 + 5  # batches, evaluations, steps
    for moment in range(1, counter.num_passed + 1):
        stopped = train_with_stops(make_trainer, tmp_path / str(moment), Stopper(moment))

        assert list((tmp_path / str(moment)).iterdir())
        assert list(map(told_by, stopped)) == undisturbed
    assert not (tmp_path / "0").exists()


def test_heads_that_are_stopped_at_any_moment_end_with_the_same_bits(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    sizes = {"train": 60, "validation": 30, "test": 30}
    features = {split: torch.randn(sizes[split], 8, generator=generator) for split in SPLITS}
    targets = {split: torch.randint(3, (sizes[split],), generator=generator) for split in SPLITS}
    keys = [RunKey(seed, head_lr, None) for seed in (0, 1) for head_lr in (0.05, 0.5)]

    assert_every_moment_will_do(lambda: FrozenTrainer(keys, features, targets, 3, SETTINGS), tmp_path)


@pytest.fixture
def backbone_with_dropout(tmp_path: Path, data: PreparedData, cache: Path) -> PreparedBackbone:
    """A llama that draws random numbers at every update."""
    from tiny_repositories import make_repository  # noqa: PLC0415 - seconds

    folder = make_repository(tmp_path / "dropout", "llama")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.3}), "utf-8")
    prepared = prepare_backbone(BackboneSpec(source=str(folder)), data, cache)
    assert prepared is not None
    return prepared


def test_a_live_model_with_dropout_that_is_stopped_at_any_moment_ends_with_the_same_bits(
    tmp_path: Path, make_config: MakeConfig, backbone_with_dropout: PreparedBackbone, cache: Path
) -> None:
    config = make_config(Mode.LIVE, backbone=backbone_with_dropout)
    tokens = {split: load_arm_tokens(config, split) for split in SPLITS}
    splits = LiveSplits(tokens, load_labelled_splits(cache, config.data).targets, tokens_per_batch=2048)

    def make_trainer() -> LiveTrainer:
        backbone = PooledBackbone(load_body(cache, backbone_with_dropout, 48), is_frozen=False)
        standardise = Standardise(torch.cat([-torch.ones(1, 32), torch.ones(1, 32)]))
        key = RunKey(0, 0.05, 1e-3)
        model = TextClassifier(backbone, standardise, new_head(32, 4, key.seed))
        return LiveTrainer(key, model, splits, SETTINGS, Accelerator(cpu=True))

    assert_every_moment_will_do(make_trainer, tmp_path / "checkpoints")


def test_features_go_on_after_the_last_batch_that_was_made(
    tmp_path: Path, make_config: MakeConfig, backbone: PreparedBackbone, cache: Path
) -> None:
    tokens = load_arm_tokens(make_config(Mode.FROZEN), "train")
    body = PooledBackbone(load_body(cache, backbone, max_tokens=48), is_frozen=True)
    pieces = CheckpointFolder(tmp_path / "pieces", interval_seconds=3600)
    reported: list[int] = []

    def report_or_stop(num_texts: int) -> None:
        reported.append(num_texts)
        if len(reported) in {3, 4, 9}:
            raise Terminated("SIGTERM")

    for _ in range(3):
        with pytest.raises(Terminated):
            extract_features(body, tokens, 512, pieces, report_or_stop)
    resumed = extract_features(body, tokens, 512, pieces, report_or_stop)
    undisturbed = extract_features(body, tokens, 512, CheckpointFolder(tmp_path / "none", 3600), lambda _: None)

    assert torch.equal(resumed, undisturbed)
    assert sum(reported) == len(tokens) == 160


def bytes_of(records: RunRecords) -> list[bytes | None]:
    return [records.store.read(path) for path in (records.curve, records.predictions, records.result)]


def test_a_worker_that_is_told_to_stop_goes_on_from_there_and_ends_with_the_same_bytes(
    make_config: MakeConfig,
    records_of: Callable[..., RunRecords],
    start_worker: Callable[..., subprocess.Popen[bytes]],
    wait_for_event: Callable[..., dict[str, Any]],
    wait_until: Callable[[Callable[[], bool]], None],
    tmp_path: Path,
) -> None:
    long = {"steps": 60, "batch_size": 4, "eval_every": 2, "head_lr": (0.03, 0.01), "backbone_lr": (1e-3,)}
    config = make_config(Mode.LIVE, execution={"flush_seconds": 0}, **long)
    undisturbed = make_config(Mode.LIVE, execution={"results": str(tmp_path / "undisturbed")}, **long)
    records = records_of(config)
    worker = start_worker(config, name="stopped")
    wait_until(lambda: len(records.read_curve()) > 10)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 143
    left = wait_for_event("stopped", event="checkpoint")["step"]
    assert start_worker(config, name="resumed").wait() == 0
    run(undisturbed)
    first, second = records.read_attempts()

    assert bytes_of(records) == bytes_of(records_of(undisturbed))
    assert (first.exit_code, first.resumed_at_step) == (143, None)
    assert (second.exit_code, second.resumed_at_step) == (0, left)
    assert wait_for_event("resumed", event="resumed")["step"] == left
    assert [point.step for point in records.read_curve()] == list(range(61))


def test_seeds_that_are_done_are_left_as_they_are(
    make_config: MakeConfig, records_of: Callable[..., RunRecords], tmp_path: Path
) -> None:
    run(make_config(Mode.FROZEN, seeds=(1,)))
    config = make_config(Mode.FROZEN, seeds=(0, 1))
    before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("seed-1/*")}
    run(config)

    assert {path: path.read_bytes() for path in (tmp_path / "results").rglob("seed-1/*")} == before
    assert records_of(config, 0).read_result() is not None


def test_a_result_that_was_torn_is_made_again(make_config: MakeConfig, records_of: Callable[..., RunRecords]) -> None:
    config = make_config(Mode.FROZEN)
    records = records_of(config)
    run(config)
    whole = bytes_of(records)
    records.store.write(records.predictions, whole[1][:-9] if whole[1] else b"")
    run(config)
    records.store.write(records.result, b"{")
    with pytest.raises(ResultError):
        records.read_result()
    run(config)

    assert bytes_of(records) == whole
    assert [attempt.exit_code for attempt in records.read_attempts()] == [0, 0, 0]


def test_what_was_finished_before_a_fresh_start_is_made_again_and_once(
    make_config: MakeConfig, records_of: Callable[..., RunRecords]
) -> None:
    run(make_config(Mode.FROZEN))
    records = records_of(make_config(Mode.FROZEN))
    for fresh_since in (5.0, 5.0, 4.0, 6.0):
        run(make_config(Mode.FROZEN, execution={"fresh_since": fresh_since}))

    assert [attempt.fresh_since for attempt in records.read_attempts()] == [None, 5.0, 6.0]


def test_heads_that_were_trained_are_not_trained_again_for_the_seeds_that_lack_a_result(
    make_config: MakeConfig, records_of: Callable[..., RunRecords], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(Mode.FROZEN, seeds=(0, 1, 2))
    finish = RunRecorder.finish

    def stop_at_the_second(self: RunRecorder, *arguments: Any) -> None:  # noqa: ANN401 - of finish
        if records_of(config, 0).read_result() is not None:
            raise Terminated("SIGTERM")
        finish(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunRecorder, "finish", stop_at_the_second)
        with pytest.raises(Terminated):
            run(config)
    monkeypatch.setattr(FrozenTrainer, "try_batch", None)  # would fail if it were called
    run(config)

    assert all(records_of(config, seed).read_result() for seed in (0, 1, 2))


def test_a_second_worker_of_an_arm_waits_and_then_gives_up(make_config: MakeConfig) -> None:
    config = make_config(Mode.FROZEN)
    with only_worker_of(config):
        with (
            pytest.raises(ComparisonBusyError, match="Another worker trains 'frozen llama' of 'trial'"),
            only_worker_of(config, wait_seconds=0.3),
        ):
            pass
        with only_worker_of(config.model_copy(update={"comparison": "other"}), wait_seconds=0):
            pass
    with only_worker_of(config, wait_seconds=0):
        pass

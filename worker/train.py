"""One arm, all its seeds: from a run config to results in the store."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from worker.arm_data import LabelledSplits, load_arm_features, load_arm_tokens, load_labelled_splits
from worker.backbone import load_body
from worker.checkpoint import ArmCheckpoints
from worker.checkpoint_files import State
from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.errors import NonFiniteLossError, OutOfDeviceMemoryError
from worker.contract.records import content_hash
from worker.contract.results import BackboneProof
from worker.contract.store import ResultsStore
from worker.device import device_name, open_accelerator, package_versions, take_device
from worker.events import log
from worker.features import Features
from worker.frozen import FrozenTrainer
from worker.live import LiveSplits, LiveTrainer
from worker.model import PooledBackbone, Standardise, TextClassifier, new_head, num_parameters, weights_hash
from worker.monitor import Monitor, peak_memory_bytes
from worker.observer import ArmObserver
from worker.outcome import SeedOutcome, Surroundings, describe_run, predictions
from worker.recorder import RunRecorder, image_digest
from worker.splits import SPLITS, Split
from worker.traces import RunKey, RunTrace, choose
from worker.trainer import train_runs


class ArmTraining:
    """Trains one arm and records every seed.

    Args:
        config: What to train.
        monitor: Told of every step.
        recorders: One per seed.
        store: Results store.
    """

    def __init__(
        self, config: RunConfig, monitor: Monitor, recorders: dict[int, RunRecorder], store: ResultsStore
    ) -> None:
        """Take the device and read the data set's splits."""
        self.config = config
        self.monitor = monitor
        self.recorders = recorders
        self.cache = Path(config.execution.cache)
        self.device = take_device(config.execution)
        self.observer = ArmObserver(config, monitor, recorders, store)
        self.checkpoints = ArmCheckpoints(config, self.device)
        self.labelled: LabelledSplits = load_labelled_splits(self.cache, config.data)

    def train(self) -> None:
        """Train every seed and write its result.

        Raises:
            FreezeBenchError: As its exit code says; seeds that were finished before are in the store.
        """
        try:
            is_frozen = self.config.arm.mode is Mode.FROZEN
            diverged = [
                outcome
                for outcome in (self._train_frozen() if is_frozen else self._train_live())
                if not self._finish(outcome)
            ]
        except torch.OutOfMemoryError as error:
            raise OutOfDeviceMemoryError(
                f"{self.config.arm.label} does not fit the device at {peak_memory_bytes() / 2**30:.1f} GiB: {error}.",
                remedy="Lower training.batch_size, training.max_tokens or tokens_per_batch, or take a larger device.",
            ) from error
        self.checkpoints.delete()
        if diverged:
            raise _non_finite(diverged[0])

    def _train_frozen(self) -> Iterator[SeedOutcome]:
        """Train the heads of all seeds and candidates side by side on the same features."""
        config = self.config
        features = self._load_features(SPLITS)
        origin = features["train"].origin
        proof = BackboneProof(
            weights_hash_before=origin.weights_hash_before,
            weights_hash_after=origin.weights_hash_after,
            num_parameters=origin.num_parameters,
            num_trained_parameters=(features["train"].values_ND.shape[1] + 1) * len(config.data.classes),
        )
        num_truncated = sum(features[split].origin.num_truncated for split in SPLITS)
        traces = self._train_heads(features)
        for seed in config.seeds:
            yield SeedOutcome(seed, traces[seed], proof, num_truncated, origin.tokens_per_batch)

    def _train_heads(self, features: Mapping[Split, Features]) -> dict[int, tuple[RunTrace, ...]]:
        """Return what the heads of every seed have shown; those that an earlier attempt finished are not trained."""
        config, device = self.config, self.device
        done = {seed: saved for seed in config.seeds if (saved := self._finished(_heads_name([seed])))}
        traces = {seed: tuple(map(RunTrace.from_state, saved["traces"])) for seed, saved in done.items()}
        missing = [seed for seed in config.seeds if seed not in done]
        if not missing:
            return traces
        with self.monitor.during("training"):
            standardise = Standardise(features["train"].values_ND)
            trainer = FrozenTrainer(
                [RunKey(seed, head_lr, None) for seed in missing for head_lr in config.training.head_lr],
                {split: standardise(features[split].values_ND).to(device) for split in SPLITS},
                {split: self.labelled.targets[split].to(device) for split in SPLITS},
                len(config.data.classes),
                config.training,
            )
            checkpoints = self.checkpoints.of(_heads_name(missing))
            made = train_runs(trainer, config.training, self.observer.of_training(), checkpoints)
        for seed in missing:
            traces[seed] = tuple(trace for trace in made if trace.key.seed == seed)
            self._put_finished(_heads_name([seed]), {"traces": [trace.state() for trace in traces[seed]]})
        return traces

    def _train_live(self) -> Iterator[SeedOutcome]:
        """Train every candidate of every seed from the pretrained weights, one after the other."""
        training = self.config.training
        features = self._load_features(("train",))["train"]
        tokens = {split: load_arm_tokens(self.config, split) for split in SPLITS}
        num_truncated = sum(texts.num_truncated for texts in tokens.values())
        splits = LiveSplits(tokens, self.labelled.targets, self.config.execution.tokens_per_batch)
        for seed in self.config.seeds:
            traces: list[RunTrace] = []
            proofs: list[BackboneProof] = []
            for key in (RunKey(seed, head, backbone) for backbone in training.backbone_lr for head in training.head_lr):
                trace, proof = self._finished_candidate(key) or self._train_candidate(key, splits, features, traces)
                self.observer.end_training(num_runs=1)
                traces.append(trace)
                proofs.append(proof)
            chosen = choose(traces)
            proof = proofs[traces.index(chosen) if chosen else 0]
            yield SeedOutcome(seed, tuple(traces), proof, num_truncated, splits.tokens_per_batch)

    def _finished_candidate(self, key: RunKey) -> tuple[RunTrace, BackboneProof] | None:
        """Return what an earlier attempt made of a candidate, if it came to its end."""
        saved = self._finished(_live_name(key))
        if saved is None:
            return None
        return RunTrace.from_state(saved["trace"]), BackboneProof.model_validate(saved["proof"])

    def _finished(self, training: str) -> State | None:
        """Return what a training came to in an earlier attempt; None if it is still to be made."""
        saved = self.checkpoints.of(f"{training}-done").read_newest()
        if saved is not None:
            log.info("was done", training=training, step=self.config.training.steps)
        return saved

    def _put_finished(self, training: str, state: State) -> bool:
        return self.checkpoints.of(f"{training}-done").write(self.config.training.steps, state)

    def _train_candidate(
        self, key: RunKey, splits: LiveSplits, features: Features, earlier: Sequence[RunTrace]
    ) -> tuple[RunTrace, BackboneProof]:
        config, checkpoints = self.config, self.checkpoints.of(_live_name(key))
        with self.monitor.during("loading"):
            backbone = PooledBackbone(
                load_body(self.cache, config.backbone, config.training.max_tokens), is_frozen=False
            )
            hash_before = weights_hash(backbone)
            head = new_head(features.values_ND.shape[1], len(config.data.classes), key.seed)
            model = TextClassifier(backbone, Standardise(features.values_ND), head)
            accelerator = open_accelerator(self.device)
            trainer = LiveTrainer(key, model, splits, config.training, accelerator)
            self.observer.announce_stop(checkpoints.measure_writing(trainer.num_state_bytes))
        with self.monitor.during("training"):
            (trace,) = train_runs(trainer, config.training, self.observer.of_training(earlier), checkpoints)
            hash_after = weights_hash(backbone)
        accelerator.free_memory()
        proof = BackboneProof(
            weights_hash_before=hash_before,
            weights_hash_after=hash_after,
            num_parameters=num_parameters(backbone),
            num_trained_parameters=num_parameters(model),
        )
        if self._put_finished(_live_name(key), {"trace": trace.state(), "proof": proof.model_dump()}):
            checkpoints.delete()
        return trace, proof

    def _load_features(self, splits: Sequence[Split]) -> dict[Split, Features]:
        return load_arm_features(self.config, splits, self.device, self.monitor)

    def _finish(self, outcome: SeedOutcome) -> bool:
        """Write one seed's predictions and result.

        Returns:
            Whether there is one: not if every candidate diverged.
        """
        chosen = choose(outcome.traces)
        if chosen is None:
            return False
        surroundings = Surroundings(
            device_name(self.device), torch.get_num_threads(), package_versions(), image_digest()
        )
        with self.monitor.during("writing"):
            rows = predictions(chosen, self.labelled)
            result = describe_run(self.config, outcome, chosen, rows, surroundings)
            self.recorders[outcome.seed].finish(chosen.points, rows, result)
        self.recorders[outcome.seed].end_attempt(self.monitor.seconds_by_phase)
        self.monitor.show(outcome.seed, chosen.points, num_updates=0)
        self.monitor.runs[outcome.seed].is_complete = True
        log.info("finished", seed=outcome.seed, last=result.last.accuracy, best=result.best.accuracy)
        return True


def _live_name(key: RunKey) -> str:
    return f"seed-{key.seed}-head-{key.head_lr}-backbone-{key.backbone_lr}"


def _heads_name(seeds: Sequence[int]) -> str:
    return f"heads-{content_hash(list(seeds))[:16]}"


def _non_finite(outcome: SeedOutcome) -> NonFiniteLossError:
    """Say where every candidate of a seed diverged."""
    ends = "; ".join(
        f"head_lr {trace.key.head_lr:g}"
        + (f", backbone_lr {trace.key.backbone_lr:g}" if trace.key.backbone_lr else "")
        + f" at step {trace.diverged_at_step}"
        for trace in outcome.traces
    )
    return NonFiniteLossError(
        f"Seed {outcome.seed}: the loss became infinite or undefined with every candidate ({ends}).",
        remedy="Lower training.head_lr or training.backbone_lr, or lengthen training.warmup_steps.",
    )

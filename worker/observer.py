"""Observers: every step of an arm's trainings, told to its metrics, its progress and its curves."""

import time
from collections.abc import Sequence

from worker.contract.config import RunConfig
from worker.contract.store import ResultsStore
from worker.events import log
from worker.lifecycle import TERMINATION_SECONDS, allow_termination_seconds
from worker.monitor import Monitor
from worker.recorder import ProgressRecorder, RunRecorder
from worker.traces import RunTrace, leader
from worker.trainer import Observer

_STOP_MARGIN = 1.5
"""A checkpoint may take this many times what was measured: the disk may be busier then."""

_SECONDS_TO_CLOSE = 2.0
"""What a worker that stops does beside its checkpoint."""


class ArmObserver:
    """Follows the trainings of one arm, one after the other.

    Args:
        config: What is trained.
        monitor: Told of every step.
        recorders: One per seed.
        store: Results store.
    """

    def __init__(
        self, config: RunConfig, monitor: Monitor, recorders: dict[int, RunRecorder], store: ResultsStore
    ) -> None:
        """Count the updates that are to come."""
        training = config.training
        num_candidates = len(training.head_lr) * max(1, len(training.backbone_lr))
        self._config = config
        self._monitor = monitor
        self._recorders = recorders
        self._progress = ProgressRecorder(store, config, len(config.seeds) * num_candidates * training.steps)
        self._num_updates_before = 0

    def of_training(self, earlier: Sequence[RunTrace] = ()) -> Observer:
        """Return the observer of one training.

        Args:
            earlier: What other candidates of the same seed have shown: the best of all is what is seen.
        """
        first_step: int | None = None
        shown_at = 0.0

        def observe(step: int, traces: Sequence[RunTrace]) -> None:
            nonlocal first_step, shown_at
            if first_step is None:
                first_step = step
                self._note_resumption(step, traces)
            self._observe(step, traces, earlier, is_new=step > first_step)
            before, shown_at = shown_at, time.monotonic()
            if step > first_step:
                self._monitor.step_durations.observe(shown_at - before)

        return observe

    def end_training(self, num_runs: int) -> None:
        """Count the updates of a training as made, the ones that a diverged run left out as well."""
        self._num_updates_before += num_runs * self._config.training.steps
        self._progress.flush(self._num_updates_before)

    def announce_stop(self, seconds_to_write: float) -> None:
        """Say how long the worker may take to stop, from how long a checkpoint takes to write."""
        seconds = max(TERMINATION_SECONDS, _STOP_MARGIN * seconds_to_write + _SECONDS_TO_CLOSE)
        allow_termination_seconds(seconds)
        self._progress.announce_stop_seconds(seconds + _SECONDS_TO_CLOSE)
        log.info("stops within", seconds=round(seconds, 1), checkpoint_seconds=round(seconds_to_write, 3))

    def _note_resumption(self, step: int, traces: Sequence[RunTrace]) -> None:
        if step:
            log.info("resumed", step=step, runs=[list(trace.key) for trace in traces])
            for seed in {trace.key.seed for trace in traces}:
                self._recorders[seed].put_down_resumption(step)

    def _observe(self, step: int, traces: Sequence[RunTrace], earlier: Sequence[RunTrace], *, is_new: bool) -> None:
        """Show and write the leading candidate's curve of every seed."""
        training = self._config.training
        scored = self._config.data.num_examples.validation if training.is_eval_step(step) else 0
        self._monitor.count_examples((scored + (training.batch_size if is_new else 0)) * len(traces))
        self._progress.flush(self._num_updates_before + step * len(traces))
        for seed in {trace.key.seed for trace in traces}:
            of_seed = [trace for trace in traces if trace.key.seed == seed]
            points = leader([*earlier, *of_seed]).points
            self._monitor.show(seed, points, num_updates=len(of_seed) if is_new else 0)
            self._recorders[seed].flush_curve(seed, points)

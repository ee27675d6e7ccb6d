"""What a worker is doing now: training tells it, and metrics and records read it."""

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from worker.contract.config import RunConfig
from worker.contract.metric_names import Phase
from worker.contract.results import EvalPoint
from worker.durations import DurationHistogram
from worker.events import log


@dataclass(slots=True)
class RunView:
    """One seed's run, as others may see it while it goes on."""

    points: tuple[EvalPoint, ...] = ()
    """The curve of the candidate that leads; replaced whole, so that other threads see the old one or the new one."""
    num_updates: int = 0
    updated_at: float = 0.0
    """Unix time of the last step, seconds."""
    is_complete: bool = False


class Monitor:
    """Phase, throughput and curves of one worker process."""

    def __init__(self, config: RunConfig) -> None:
        """Start with nothing done."""
        self.config = config
        self.runs = {seed: RunView() for seed in config.seeds}
        self.phase: Phase = "starting"
        self.seconds_by_phase: dict[str, float] = {}
        self.examples_per_second = 0.0
        self.step_durations = DurationHistogram()
        self._phase_started = time.monotonic()
        self._num_examples = 0

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Name what is being done, and measure how long it takes."""
        self._close_phase()
        self.phase = phase
        log.info("phase", phase=phase)
        try:
            yield
        finally:
            self._close_phase()

    def count_examples(self, count: int) -> None:
        """Count examples that were passed forward in this phase."""
        self._num_examples += count
        elapsed = time.monotonic() - self._phase_started
        if elapsed > 0:
            self.examples_per_second = self._num_examples / elapsed

    def show(self, seed: int, points: Sequence[EvalPoint], num_updates: int) -> None:
        """Replace what is shown of one run, and add the updates that were made for it since."""
        view = self.runs[seed]
        view.points = tuple(points)
        view.num_updates += num_updates
        view.updated_at = time.time()

    def _close_phase(self) -> None:
        now = time.monotonic()
        seconds = now - self._phase_started
        self.seconds_by_phase[self.phase] = round(self.seconds_by_phase.get(self.phase, 0.0) + seconds, 3)
        self._phase_started = now
        self._num_examples = 0


def peak_memory_bytes() -> int:
    """Return the most memory this process has had: of the GPU if it uses one, otherwise resident host memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

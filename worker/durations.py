"""How long steps take, counted as a histogram without a lock: one thread counts, others read."""

from bisect import bisect_left

from worker.contract.metric_spec import Histogram

DURATION_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: from a head on cached features to a large backbone with a long evaluation."""


class DurationHistogram:
    """Counts durations by bucket.

    The training thread alone writes. A reader may see a duration in its bucket and not yet in the sum, which the next
    scrape sets right; a lock would cost the training more than that.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._counts = [0] * (len(DURATION_BOUNDS) + 1)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; a bucket holds what is not above its bound."""
        self._counts[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self._total += seconds

    def snapshot(self) -> Histogram:
        """Return what was counted so far."""
        return Histogram(DURATION_BOUNDS, tuple(self._counts), self._total)

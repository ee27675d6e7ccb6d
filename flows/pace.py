"""How fast a worker goes, and how long it still takes, from the progress that it writes."""

from dataclasses import dataclass, field

from worker.contract.results import Progress


@dataclass(slots=True)
class Pace:
    """The speed of one arm's worker since it was first seen; a new worker begins anew."""

    updates_per_second: float | None = None
    """None until the worker was seen twice."""
    _first: Progress | None = field(default=None, repr=False)
    _last: Progress | None = field(default=None, repr=False)

    def see(self, progress: Progress) -> None:
        """Take over what the worker says of itself."""
        if self._first is None or self._first.started_at != progress.started_at:
            self._first, self.updates_per_second = progress, None
        self._last = progress
        seconds = progress.updated_at - self._first.updated_at
        if seconds > 0:
            self.updates_per_second = (progress.num_updates - self._first.num_updates) / seconds

    @property
    def seconds_left(self) -> float | None:
        """How long the worker still takes at this speed, if that is known."""
        if self._last is None or not self.updates_per_second:
            return None
        return (self._last.num_planned - self._last.num_updates) / self.updates_per_second

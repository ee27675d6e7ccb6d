"""All comparisons of a results store, followed from look to look: the fewer questions, the less there is to expect."""

from pathlib import PurePosixPath

from flows.metrics.arms import MAX_SAMPLES, StoreSnapshot, keep_newest
from flows.metrics.comparison_reader import ComparisonReader
from worker.contract.store import ResultsStore

LOOK_SECONDS = 5.0
"""Between looks at arms that are not done."""

MAX_ASIDE = 20
"""Comparisons without news that one look asks about: however many there are, those with news do not wait for them."""

_ROOT = PurePosixPath()


class StoreReader:
    """Follows every comparison of a results store.

    Args:
        store: Opened anew, to be asked once per record: the next look is the next try.
    """

    def __init__(self, store: ResultsStore) -> None:
        """Nothing is read yet."""
        self._store = ResultsStore(store.url, patience_seconds=0)
        self._comparisons: dict[str, ComparisonReader] = {}

    @property
    def is_behind(self) -> bool:
        """Whether there are comparisons that were not read at all yet: the next look is not to wait."""
        return any(not comparison.due_at for comparison in self._comparisons.values())

    def look(self, now: float) -> StoreSnapshot:
        """Read what may have changed since the last look, and return what is to be shown.

        Args:
            now: Unix time, seconds.

        Raises:
            StoreError: The store does not answer. The next look goes on from there.
        """
        names = self._store.folder_names(_ROOT)
        self._comparisons = {name: self._comparisons.get(name) or ComparisonReader(self._store, name) for name in names}
        comparisons = self._comparisons.values()
        for comparison in [*filter(_is_awake, comparisons), *self._due_aside(now)]:
            comparison.look(now)
        arms = [arm for comparison in comparisons for arm in comparison.snapshots(now)]
        shown = keep_newest(arms, MAX_SAMPLES)
        return StoreSnapshot(
            arms=tuple(sorted(shown, key=lambda arm: arm.labels.of_arm)),
            num_left_out=len(arms) - len(shown),
            num_unreadable=sum(comparison.num_unreadable for comparison in comparisons),
            read_at=now,
        )

    def _due_aside(self, now: float) -> list[ComparisonReader]:
        """Return the comparisons without news that have been due for longest, new ones first."""
        aside = (each for each in self._comparisons.values() if not each.is_awake and each.due_at <= now)
        return sorted(aside, key=lambda comparison: comparison.due_at)[:MAX_ASIDE]


def _is_awake(comparison: ComparisonReader) -> bool:
    return comparison.is_awake

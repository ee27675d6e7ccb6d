"""All comparisons of a results store, followed from look to look: the fewer questions, the less there is to expect."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from flows.metrics.arm_reader import ArmPlan, ArmReader
from flows.metrics.arms import SHOWN_SECONDS, ArmSnapshot, StoreSnapshot
from flows.metrics.records import RecordReader
from flows.preparation import PLAN_FILE
from worker.contract.curve_grid import CurveGrid
from worker.contract.plan import Plan
from worker.contract.store import ResultsStore

LOOK_SECONDS = 5.0
"""Between looks at arms that are not done."""

SLOW_LOOK_SECONDS = 30.0
"""Between looks at everything else."""

MAX_ARMS = 1000
"""Arms that are shown, the newest first: what a scrape may cost has an end."""

_ROOT = PurePosixPath()


class StoreReader:
    """Follows every comparison of a results store.

    Args:
        store: Opened anew, to be asked once per record: the next look is the next try.
    """

    def __init__(self, store: ResultsStore) -> None:
        """Nothing is read yet."""
        self._store = ResultsStore(store.url, patience_seconds=0)
        self._records = RecordReader(self._store)
        self._comparisons: dict[str, _ComparisonReader] = {}

    def look(self, now: float) -> StoreSnapshot:
        """Read what may have changed since the last look, and return what is to be shown.

        Args:
            now: Unix time, seconds.

        Raises:
            StoreError: The store does not answer. The next look goes on from there.
        """
        names = self._store.folder_names(_ROOT)
        for gone in self._comparisons.keys() - names:
            del self._comparisons[gone]
            self._records.forget(PurePosixPath(gone))
        for name in names:
            self._comparisons.setdefault(name, _ComparisonReader(self._records, name)).look(now)
        arms = [arm for comparison in self._comparisons.values() for arm in comparison.snapshots(now)]
        newest = sorted(arms, key=lambda arm: arm.updated_at, reverse=True)[:MAX_ARMS]
        return StoreSnapshot(
            arms=tuple(sorted(newest, key=lambda arm: arm.labels.of_arm)),
            num_left_out=len(arms) - len(newest),
            num_unreadable=self._records.num_unreadable,
            read_at=now,
        )


@dataclass(slots=True)
class _ComparisonReader:
    """Follows one folder of a results store, which need not be a comparison."""

    records: RecordReader
    name: str
    _arms: dict[str, ArmReader] = field(default_factory=dict)
    _slow_look_at: float = 0.0
    """When everything is to be looked at again, and not only what is not done."""
    _num_glances: int = 0
    _is_asleep: bool = False

    def look(self, now: float) -> None:
        """Read what may have changed."""
        is_slow = now >= self._slow_look_at
        if self._is_dormant(now) and not (is_slow and self._glance(now)):
            self._fall_asleep()
        else:
            self._is_asleep = False
            if is_slow:
                self._read_plan()
            for arm in self._arms.values():
                if is_slow or not arm.is_settled:
                    arm.look(now)
        if is_slow:
            self._slow_look_at = now + SLOW_LOOK_SECONDS

    def snapshots(self, now: float) -> list[ArmSnapshot]:
        """Return the arms of the last day."""
        recent = (arm for arm in self._arms.values() if now - arm.updated_at < SHOWN_SECONDS)
        return [snapshot for arm in recent if (snapshot := arm.snapshot())]

    def _is_dormant(self, now: float) -> bool:
        """Whether nothing has happened here for a day."""
        statuses = [arm for arm in self._arms.values() if arm.status]
        return bool(statuses) and all(now - arm.updated_at >= SHOWN_SECONDS for arm in statuses)

    def _fall_asleep(self) -> None:
        """Keep nothing but the statuses."""
        if not self._is_asleep:
            self.records.forget(PurePosixPath(self.name))
            for arm in self._arms.values():
                arm.drop_runs()
            self._is_asleep = True

    def _glance(self, now: float) -> bool:
        """Look at one arm, another one each time: a new flow run writes every arm's status."""
        arms = list(self._arms.values())
        self._num_glances += 1
        return arms[self._num_glances % len(arms)].look(now)

    def _read_plan(self) -> None:
        """Follow the arms that the plan has now."""
        plan = self.records.read(PurePosixPath(self.name, PLAN_FILE), Plan.model_validate_json)
        if plan is None or plan.comparison != self.name:
            self._arms = {}
            return
        grid = CurveGrid.of(plan.training)
        wanted = {arm.slug: ArmPlan(plan.comparison, arm, plan.data.source, grid) for arm in plan.arms}
        self._arms = {
            slug: known
            if (known := self._arms.get(slug)) and known.plan == arm_plan
            else ArmReader(self.records, arm_plan)
            for slug, arm_plan in wanted.items()
        }

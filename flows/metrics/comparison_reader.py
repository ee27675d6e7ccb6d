"""One comparison in the results store, followed from look to look."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from flows.metrics.arm_reader import ArmPlan, ArmReader
from flows.metrics.arms import SHOWN_SECONDS, ArmSnapshot
from flows.metrics.records import RecordReader
from flows.preparation import PLAN_FILE
from worker.contract.curve_grid import CurveGrid
from worker.contract.plan import Plan
from worker.contract.store import ResultsStore

SLOW_LOOK_SECONDS = 30.0
"""Between looks at what is done, at plans, and at comparisons without news."""


@dataclass(slots=True)
class ComparisonReader:
    """Follows one folder of a results store, which need not be a comparison."""

    store: ResultsStore
    name: str
    is_awake: bool = False
    """Whether an arm has had news in the last day. All others are glanced at, to learn whether a flow run began."""
    due_at: float = 0.0
    """Unix time of the next look at everything, and not only at what is not done; 0 before the first."""
    _records: RecordReader = field(init=False)
    """The comparison's own; each arm has another."""
    _arms: dict[str, ArmReader] = field(default_factory=dict)
    _num_glances: int = 0

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self._records = RecordReader(self.store)

    @property
    def num_unreadable(self) -> int:
        """Records that are torn or foreign, as they were last seen."""
        return self._records.num_unreadable + sum(arm.records.num_unreadable for arm in self._arms.values())

    def look(self, now: float) -> None:
        """Read what may have changed.

        Raises:
            StoreError: The store does not answer. The next look goes on from there.
        """
        is_slow = now >= self.due_at
        if is_slow and self._read_plan():
            self.is_awake = True
        if not self.is_awake and is_slow:
            self.is_awake = self._glance(now)
        if self.is_awake:
            for arm in self._arms.values():
                if is_slow or not arm.is_settled:
                    arm.look(now)
            self.is_awake = any(now - arm.updated_at < SHOWN_SECONDS for arm in self._arms.values())
        if not self.is_awake:
            for arm in self._arms.values():
                arm.drop_runs()
        if is_slow:
            self.due_at = now + SLOW_LOOK_SECONDS

    def snapshots(self, now: float) -> list[ArmSnapshot]:
        """Return the arms of the last day."""
        recent = (arm for arm in self._arms.values() if now - arm.updated_at < SHOWN_SECONDS)
        return [snapshot for arm in recent if (snapshot := arm.snapshot(now))]

    def _glance(self, now: float) -> bool:
        """Look at one arm, another one each time: a new flow run writes the status of every arm that it has."""
        arms = list(self._arms.values())
        self._num_glances += 1
        return bool(arms) and arms[self._num_glances % len(arms)].look(now)

    def _read_plan(self) -> bool:
        """Follow the arms that the plan has now, and say whether they are others than before."""
        wanted = self._records.read(PurePosixPath(self.name, PLAN_FILE), self._parse_plan) or {}
        known = {slug: arm for slug, arm in self._arms.items() if wanted.get(slug) == arm.plan}
        has_changed = not known.keys() == self._arms.keys() == wanted.keys()
        # A reader is dropped with all that it knew: another plan has another grid for the same curve.
        self._arms = {
            slug: known.get(slug) or ArmReader(RecordReader(self.store), plan) for slug, plan in wanted.items()
        }
        return has_changed

    def _parse_plan(self, content: bytes) -> dict[str, ArmPlan]:
        plan = Plan.model_validate_json(content)
        if plan.comparison != self.name:
            return {}
        grid = CurveGrid.of(plan.training)
        return {arm.slug: ArmPlan(plan.comparison, arm, plan.data.source, grid) for arm in plan.arms}

"""What the tasks of one flow run work with."""

from dataclasses import dataclass

from flows.executors import Executor
from flows.status import StatusBoard
from worker.contract.arms import BackboneSpec
from worker.contract.plan import Plan
from worker.contract.store import ResultsStore


@dataclass(frozen=True, slots=True)
class FlowContext:
    """What every task of one flow run shares."""

    plan: Plan
    store: ResultsStore
    executor: Executor
    board: StatusBoard

    def arms_with(self, spec: BackboneSpec) -> list[str]:
        """Return the arms that use a backbone."""
        return [arm.slug for arm in self.plan.arms if arm.backbone == spec]

"""The real flow on a real Prefect server, with arms that do nothing: what is left is the flow's own time."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from unittest.mock import patch

from benchmarks.measurement import Bench, Measurement
from benchmarks.work_files import COLD
from benchmarks.works import DEMO_PLAN
from flows.compare import QUIET_PREFECT
from flows.executors import CloseReason, WorkerOutcome, WorkerState
from flows.plan_file import load_plan
from flows.server import TemporaryServer, set_prefect_defaults
from flows.settings import RunnerSettings
from stored_arms import PREPARED_DATA, finished_run, prepared_backbone, put_finished_run
from worker.contract.arms import Arm, Mode
from worker.contract.config import Execution, PrepareConfig, RunConfig
from worker.contract.plan import Plan
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore


class IdleExecutor:
    """Ends every worker at once, and leaves in the results store what that worker would have left."""

    workers_outlive_flow = False
    memory_limit_bytes: int | None = None

    def __init__(self, plan: Plan, results: str, cache: str) -> None:
        """Nothing is written yet."""
        self.execution = Execution(results=results, cache=cache)
        self._plan = plan
        self._store = ResultsStore(results)

    def run(self, config: RunConfig | PrepareConfig, on_change: Callable[[WorkerState], None]) -> WorkerOutcome:
        """Answer for a worker."""
        on_change(WorkerState(ArmState.RUNNING))
        if isinstance(config, RunConfig):
            num_points = config.training.steps + 1
            accuracies = [0.25 + 0.5 * step / num_points for step in range(num_points)]
            for seed in config.seeds:
                put_finished_run(self._store, finished_run(self._plan, config.arm, accuracies, seed=seed))
        elif config.backbone is None:
            self._store.write_record(PurePosixPath(config.answer), PREPARED_DATA)
        else:
            arm = Arm(backbone=config.backbone, mode=Mode.FROZEN)
            self._store.write_record(PurePosixPath(config.answer), prepared_backbone(arm))
        return WorkerOutcome(0, None)

    def close(self, reason: CloseReason) -> None:
        """Have nothing to end."""


def run_idle_arms(bench: Bench) -> Measurement:
    """Run the demo's plan, and return ``seconds`` from the flow run's start to its end, as Prefect has them."""
    folder = Path(tempfile.mkdtemp(dir=bench.cache, prefix=COLD))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    set_prefect_defaults(**QUIET_PREFECT)
    server = TemporaryServer()
    # At the very end, as in the command: Prefect's threads send their last logs when the interpreter goes down.
    atexit.register(server.stop)
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - reads the environment above
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415

    import flows.flow  # noqa: PLC0415 - as above

    plan, results = load_plan(DEMO_PLAN), str(folder / "results")
    executor = IdleExecutor(plan, results, str(folder))
    server.wait_until_ready()
    with (
        temporary_settings(updates={PREFECT_API_URL: server.api_url}),
        patch.object(flows.flow, "open_local_executor", lambda *_arguments, **_named: executor),
    ):
        state = flows.flow.compare_backbones(
            plan, RunnerSettings(results=results, cache=str(folder)), return_state=True
        )
        assert state.is_completed(), state.message
        flow_run_id = state.state_details.flow_run_id
        assert flow_run_id is not None
        with get_client(sync_client=True) as client:
            seconds = client.read_flow_run(flow_run_id).total_run_time.total_seconds()
    return Measurement(values={"seconds": seconds})

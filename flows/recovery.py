"""What a runner on Kubernetes leaves behind when it ends, and how the next one takes it up.

A runner that is stopped, evicted or killed ends without a word: its flow runs stay as they are on Prefect's server, and
their Jobs go on. The next runner of the release finds them there and starts them again under the same ids; they adopt
their Jobs. So no two runners of a release may run at once.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import NoReturn
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import TaskRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Cancelled, Crashed

from flows.flow_runs import UNFINISHED, comparison_of, filter_flow_runs, read_flow_runs
from worker.contract.lease import LEASE_SECONDS
from worker.contract.store import ResultsStore

_LEFT = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
"""What only a runner takes a flow run out of. A scheduled or paused one waits for nobody who is gone."""

MAX_STARTS = 10
"""Of one flow run: one that takes its runner down with it must not do so for ever, and keep the others waiting."""

_LEASE_MARGIN_SECONDS = 5.0
"""Beyond a lease, because object stores tell the time in whole seconds."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The flow runs that the runner before this one left, by name."""

    started_again: tuple[str, ...]
    cancelled: tuple[str, ...]


def leave_flow_runs() -> NoReturn:
    """End this runner at once, and its flow runs' processes with it, without telling Prefect or the cluster anything.

    To be called on SIGTERM, in the thread of the runner's event loop: no other code of the runner runs between the end
    of a flow run's process and its own, so that none of it can report the flow run as crashed.
    """
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(0)


def end_at_once_with_runner() -> None:
    """Make this flow run's process end without a word when its runner is gone; in any other process do nothing.

    In a container the system sees to that; elsewhere a flow run would go on beside the one that the next runner starts.
    """
    runner = multiprocessing.parent_process()
    if runner is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the runner, which cancels the flow run in order

    def wait() -> None:
        runner.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="runner", daemon=True).start()


def recover_flow_runs(deployment: UUID, store: ResultsStore, delete_jobs: Callable[[str], object]) -> Recovered:
    """Take up what the last runner of this deployment left: to be called before this one asks for flow runs.

    What was pending or running is put back to be started again. What was being cancelled is cancelled.

    Args:
        deployment: Id of the deployment on Prefect's server.
        store: The results store. On an object store a comparison stays with its dead process until the lease ends, so
            flow runs start again after that.
        delete_jobs: Ends all Jobs of a comparison.

    Raises:
        ClusterError: Jobs cannot be deleted. Their flow run stays as it is, for the next try.
        httpx.HTTPError: Prefect's server went away.
    """
    is_folder = store.local_path(PurePosixPath()) is not None
    delay = timedelta(seconds=0 if is_folder else LEASE_SECONDS + _LEASE_MARGIN_SECONDS)
    started_again: list[str] = []
    cancelled: list[str] = []
    with get_client(sync_client=True) as client:
        for flow_run in read_flow_runs(client, filter_flow_runs(_LEFT, deployment=deployment)):
            if flow_run.state is not None and flow_run.state.is_cancelling():
                _finish_cancelling(client, flow_run, delete_jobs)
                cancelled.append(flow_run.name)
            elif flow_run.run_count >= MAX_STARTS:
                _give_up(client, flow_run)
            else:
                _start_again(client, flow_run, datetime.now(UTC) + delay)
                started_again.append(flow_run.name)
    return Recovered(tuple(started_again), tuple(cancelled))


def _finish_cancelling(client: SyncPrefectClient, flow_run: FlowRun, delete_jobs: Callable[[str], object]) -> None:
    comparison = comparison_of(flow_run)
    if comparison is not None:
        delete_jobs(comparison)
    message = "Cancelled while its runner was away; the next runner has ended its Jobs."
    client.set_flow_run_state(flow_run.id, Cancelled(message=message), force=True)


def _give_up(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    message = (
        f"Its runner ended {flow_run.run_count} times while it ran. What is done is kept: retry it, or submit again."
    )
    client.set_flow_run_state(flow_run.id, Crashed(message=message), force=True)


def _start_again(client: SyncPrefectClient, flow_run: FlowRun, at: datetime) -> None:
    """Put a flow run back to be started, and end the task runs that nobody works on any more."""
    of_flow_run = {"flow_run_id": {"any_": [flow_run.id]}, "state": {"type": {"any_": list(UNFINISHED)}}}
    wanted = TaskRunFilter.model_validate(of_flow_run)
    while left := client.read_task_runs(task_run_filter=wanted):  # a page at a time
        for task_run in left:
            client.set_task_run_state(task_run.id, Crashed(message="Its runner ended."), force=True)
    message = "Its runner ended; it goes on with the next one, from what is done."
    # Forced: Prefect's rules would not let a flow run go back that they take for running.
    client.set_flow_run_state(flow_run.id, AwaitingRetry(scheduled_time=at, message=message), force=True)

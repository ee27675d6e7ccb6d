"""A served flow that waits for a file, and the runner that serves it as on Kubernetes: for tests that take it away.

``python -m waiting_flow FOLDER`` takes up what the last one left, then serves until a signal.
"""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, runtime, task
from prefect.types.entrypoint import EntrypointType

from flows.prefect_plugin import NAME
from flows.recovery import end_at_once_with_runner, leave_flow_runs, recover_flow_runs
from flows.runner import PatientRunner
from worker.contract.store import ResultsStore

START_FILE, GO_FILE, DELETED_FILE = "started", "go", "deleted"
READY = "serving"


@task
def wait_for_file(path: Path) -> None:
    """Stand in for an arm."""
    while not path.exists():
        time.sleep(0.05)


@flow(name=NAME)
def waiting_flow(plan: dict[str, Any], folder: str) -> None:
    """Write down who runs it, then wait until it may end."""
    del plan
    end_at_once_with_runner()
    with Path(folder, START_FILE).open("a", encoding="utf-8") as file:
        file.write(f"{runtime.flow_run.id} {runtime.flow_run.run_count}\n")
    wait_for_file(Path(folder, GO_FILE))


async def serve(folder: Path) -> None:
    """Serve as ``freeze-bench serve`` does on Kubernetes."""
    runner = PatientRunner(name=NAME, query_seconds=0.5, limit=5, pause_on_shutdown=False)
    deployment = await runner.aadd_flow(
        waiting_flow, name=NAME, parameters={"folder": str(folder)}, entrypoint_type=EntrypointType.MODULE_PATH
    )

    def delete_jobs(comparison: str) -> None:
        with (folder / DELETED_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{comparison}\n")

    recovered = await asyncio.to_thread(recover_flow_runs, deployment, ResultsStore(str(folder)), delete_jobs)
    running = asyncio.create_task(runner.start())
    await asyncio.sleep(0)  # start() sets a handler of its own before it first waits; this replaces it
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave_flow_runs)
    print(READY, recovered, flush=True)  # noqa: T201 - the test reads it
    await running


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))

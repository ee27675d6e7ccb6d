"""``freeze-bench serve``: registers the deployment and runs what is submitted, until a signal ends it.

As a release's runner it does the same with Jobs in place of processes. Those outlive it, and so it also takes up what
the runner before it left, and deletes what nobody waits for any more.
"""

import asyncio
import signal
from collections.abc import Callable
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.urls import url_for
from rich.console import Console

from flows.deployment import check_owner, default_parameters, owner_tags
from flows.flow import compare_backbones
from flows.manifests import release_selector
from flows.metrics.exporter import PORT_ENV, start_metrics
from flows.prefect_plugin import NAME
from flows.reaper import Reaper
from flows.recovery import leave_flow_runs, recover_flow_runs
from flows.results_server import start_results_server
from flows.runner import PatientRunner
from flows.server import require_server
from flows.settings import RunnerSettings, absolute_location
from worker.contract.store import ResultsStore

POLL_SECONDS = 2.0
"""Between questions to the Prefect server for new runs, and for cancelled ones where it sends no events."""


def serve_deployment(settings: RunnerSettings, console: Console, *, limit: int) -> None:
    """Register the deployment with the Prefect server in use, and run what is submitted.

    The first SIGINT or SIGTERM cancels the runs in progress and then ends; a second one ends at once, and the flow
    runs notice it by themselves. On a cluster SIGTERM leaves the runs in progress to the next runner.

    Args:
        settings: Where results and cache are, and how many workers one comparison runs at once.
        console: Told what is served, and how to start a run.
        limit: Comparisons at once.

    Raises:
        PrefectServerError: No server is configured, it does not answer, or the deployment is another release's.
        ConfigError: The results store cannot be opened, or the environment names a plan or a release that is none.
        ClusterError: The cluster does not let the runner do its work.
        ResultsServerError: The port for the results is taken.
        MetricsServerError: The port for the metrics is taken.
    """
    is_on_cluster = settings.executor == "kubernetes"
    if is_on_cluster:  # from the start: the first process of a container hears no signal that it does not handle
        signal.signal(signal.SIGTERM, lambda _number, _frame: leave_flow_runs())
    url = require_server()
    places = {"results": absolute_location(settings.results), "cache": absolute_location(settings.cache)}
    settings = settings.model_copy(update=places)
    store = ResultsStore(settings.results)
    runner = PatientRunner(name=NAME, query_seconds=POLL_SECONDS, limit=limit, pause_on_shutdown=False)
    release = _name_release() if is_on_cluster else None
    with get_client(sync_client=True) as client:
        check_owner(client, release)
    deployment = asyncio.run(_register(runner, settings, release))
    start_results_server(settings.results)
    metrics = start_metrics(settings.results)
    if is_on_cluster:
        _take_over(deployment, store, console)
    console.print(
        f"Serving {NAME} on {url}, {limit} at once.\n"
        f"Results: {settings.results}\n"
        f"Cache:   {settings.cache}\n"
        f"Metrics: {metrics.address if metrics else f'none ({PORT_ENV} is not set)'}\n"
        f"Start:   freeze-bench submit PLAN --watch\n"
        f"         prefect deployment run {NAME}   (outside the checkout with PREFECT_PLUGINS_ENABLED=1)\n"
        f"         {url_for('deployment', obj_id=deployment) or deployment}\n"
        f"Ctrl-C ends this and cancels what is running; what is done is kept.",
        soft_wrap=True,
    )
    asyncio.run(_run_until_signal(runner, leave_flow_runs if is_on_cluster else None))
    console.print(f"{NAME} is no longer served here.")


def _name_release() -> str:
    from flows.executors.kubernetes import load_release  # noqa: PLC0415 - loads Kubernetes' client

    settings = load_release().settings
    return f"{settings.namespace}/{settings.release}"


async def _register(runner: PatientRunner, settings: RunnerSettings, release: str | None) -> UUID:
    """Create or update the deployment, and return its id."""
    return await runner.aadd_flow(
        compare_backbones,
        name=NAME,
        parameters=default_parameters(settings),
        tags=owner_tags(release),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _take_over(deployment: UUID, store: ResultsStore, console: Console) -> None:
    """Take up what the release's last runner left, and delete from now on what nobody waits for."""
    from flows.cluster import Cluster  # noqa: PLC0415 - loads Kubernetes' client
    from flows.executors.kubernetes import delete_jobs, load_release  # noqa: PLC0415

    settings = load_release().settings
    recovered = recover_flow_runs(deployment, store, delete_jobs)
    for words, names in (("Taken up", recovered.started_again), ("Cancelled", recovered.cancelled)):
        if names:
            console.print(f"{words}: {', '.join(names)}", soft_wrap=True)
    cluster = Cluster.connect(settings.namespace, patience_seconds=0)  # the next look is the next try
    Reaper(lambda: cluster.list_jobs(release_selector(settings)), cluster.delete_job).start()


async def _run_until_signal(runner: PatientRunner, on_terminate: Callable[[], object] | None) -> None:
    loop = asyncio.get_running_loop()
    running = loop.create_task(runner.start())
    await asyncio.sleep(0)  # start() sets a handler of its own before it first waits; these replace it
    stopping: set[asyncio.Task[None]] = set()

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stopping.add(loop.create_task(runner.astop()))

    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGTERM, on_terminate or stop)
    await running

"""``freeze-bench serve``: registers the deployment and runs what is submitted, until a signal ends it."""

import asyncio
import signal

from prefect.types.entrypoint import EntrypointType
from prefect.utilities.urls import url_for
from rich.console import Console

from flows.deployment import default_parameters, host_tags
from flows.flow import compare_backbones
from flows.prefect_plugin import NAME
from flows.runner import PatientRunner
from flows.server import require_server
from flows.settings import RunnerSettings, absolute_location
from worker.contract.store import ResultsStore

POLL_SECONDS = 2.0
"""Between questions to the Prefect server for new runs, and for cancelled ones where it sends no events."""


def serve_deployment(settings: RunnerSettings, console: Console, *, limit: int) -> None:
    """Register the deployment with the Prefect server in use, and run what is submitted.

    The first SIGINT or SIGTERM cancels the runs in progress and then ends; a second one ends at once, and the flow
    runs notice it by themselves.

    Args:
        settings: Where results and cache are, and how many workers one comparison runs at once.
        console: Told what is served, and how to start a run.
        limit: Comparisons at once.

    Raises:
        PrefectServerError: No server is configured, or it does not answer.
        ConfigError: The results store cannot be opened.
    """
    url = require_server()
    places = {"results": absolute_location(settings.results), "cache": absolute_location(settings.cache)}
    settings = settings.model_copy(update=places)
    ResultsStore(settings.results)
    runner = PatientRunner(name=NAME, query_seconds=POLL_SECONDS, limit=limit, pause_on_shutdown=False)
    deployment_url = asyncio.run(_register(runner, settings))
    console.print(
        f"Serving {NAME} on {url}, {limit} at once.\n"
        f"Results: {settings.results}\n"
        f"Cache:   {settings.cache}\n"
        f"Start:   freeze-bench submit PLAN --watch\n"
        f"         prefect deployment run {NAME}   (outside the checkout with PREFECT_PLUGINS_ENABLED=1)\n"
        f"         {deployment_url}\n"
        f"Ctrl-C ends this and cancels what is running; what is done is kept.",
        soft_wrap=True,
    )
    asyncio.run(_run_until_signal(runner))
    console.print(f"{NAME} is no longer served here.")


async def _register(runner: PatientRunner, settings: RunnerSettings) -> str:
    """Create or update the deployment, and return its address in the Prefect UI."""
    deployment_id = await runner.aadd_flow(
        compare_backbones,
        name=NAME,
        parameters=default_parameters(settings),
        tags=host_tags(),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return url_for("deployment", obj_id=deployment_id) or str(deployment_id)


async def _run_until_signal(runner: PatientRunner) -> None:
    loop = asyncio.get_running_loop()
    running = loop.create_task(runner.start())
    await asyncio.sleep(0)  # start() sets a handler of its own before it first waits; these replace it
    stopping: set[asyncio.Task[None]] = set()

    def stop() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stopping.add(loop.create_task(runner.astop()))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await running

"""``freeze-bench compare``: runs the flow in this process and shows how it goes on."""

import atexit
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import PurePosixPath

from rich.console import Console
from rich.table import Table

from flows.comparison import Comparison
from flows.outlook import look_ahead
from flows.preparation import check_plan
from flows.report import COMPARISON_FILE, write_report
from flows.server import TemporaryServer, find_server, set_prefect_defaults
from flows.settings import RunnerSettings
from flows.standings import STANDINGS_COLUMNS, standings_rows
from flows.watch import Watch
from worker.contract.errors import ArmsFailedError
from worker.contract.plan import Plan
from worker.contract.store import ResultsStore, RunRecords

QUIET_PREFECT = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""For a flow that runs in the command itself: its log goes to the Prefect server and not over the live table."""


def compare_on_this_machine(
    plan: Plan, settings: RunnerSettings, console: Console, *, fresh: bool, metrics_port: int | None = None
) -> Comparison:
    """Run the flow here, with the Prefect server that is configured or else a temporary one.

    Args:
        plan: What to compare.
        settings: Where results and cache are, and how many workers run at once.
        console: Where progress and standings go.
        fresh: Make results again that are in the store already.
        metrics_port: Where the results store is exposed to Prometheus meanwhile; None exposes nothing.

    Raises:
        ArmsFailedError: Some arms have no result; the chart of the others is there.
        ConfigError: The store holds another experiment under this name.
        DataError: The data set cannot be used.
        MetricsServerError: The port for the metrics is taken.
    """
    set_prefect_defaults(**QUIET_PREFECT)
    console.print(f"{plan.name}: {len(plan.arms)} arms, seeds {', '.join(map(str, plan.seeds))}")
    store = ResultsStore(settings.results)
    check_plan(store, plan)
    if not fresh and _is_done(store, plan, settings):
        nothing = "nothing to run" if metrics_port is None else "nothing to run, and no metrics to follow"
        console.print(f"Every result is in the store; {nothing}.")
        return print_standings(write_report(store, plan), store, console)
    with _metrics(store, metrics_port, console):
        return _run_and_show(plan, settings, store, console, fresh=fresh)


@contextmanager
def _metrics(store: ResultsStore, port: int | None, console: Console) -> Iterator[None]:
    """Expose the results store, until the last state of a run that ended by itself has been scraped."""
    if port is None:
        yield
        return
    from flows.metrics.exporter import StoreExporter  # noqa: PLC0415 - few ask for it

    exporter = StoreExporter(store, port)
    exporter.start()
    console.print(f"Metrics: {exporter.address}")
    try:
        try:
            yield
        except ArmsFailedError:
            exporter.linger(console)
            raise
        exporter.linger(console)
    finally:
        exporter.stop()


def _run_and_show(
    plan: Plan, settings: RunnerSettings, store: ResultsStore, console: Console, *, fresh: bool
) -> Comparison:
    """Run the flow, show how it goes on, and print what came of it."""
    with console.status("Starting Prefect ..."):
        server_settings = _connect_prefect()
        from flows.flow import compare_backbones  # noqa: PLC0415 - loads Prefect, with the environment above

    try:
        with server_settings, Watch(store, plan, console, on_error=console.print):
            comparison = compare_backbones(plan, settings, fresh=fresh)
    except ArmsFailedError:
        partial = store.read_record(PurePosixPath(plan.comparison, COMPARISON_FILE), Comparison)
        if partial is not None:
            print_standings(partial, store, console)
        raise
    return print_standings(comparison, store, console)


def _is_done(store: ResultsStore, plan: Plan, settings: RunnerSettings) -> bool:
    """Whether every arm and seed has the result that this plan would give. Asks workers only if that is likely."""
    records = (RunRecords(store, plan.comparison, arm.slug, seed) for arm in plan.arms for seed in plan.seeds)
    if not all(store.read(each.result) for each in records):
        return False
    return all(outlook.done_seeds == plan.seeds for outlook in look_ahead(plan, settings))


def _connect_prefect() -> AbstractContextManager[object]:
    """Use the Prefect server that is configured, or start a temporary one.

    Returns:
        The settings by which the flow finds the server.

    Raises:
        PrefectServerError: The configured server does not answer, or the temporary one did not start.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - seconds to import

    if find_server() is not None:
        return nullcontext()
    server = TemporaryServer()
    # At the very end: Prefect's threads send their last logs and events when the interpreter goes down.
    atexit.register(server.stop)
    import flows.flow  # noqa: F401, PLC0415 - loaded while the server starts

    server.wait_until_ready()
    return temporary_settings(updates={PREFECT_API_URL: server.api_url})


def print_standings(comparison: Comparison, store: ResultsStore, console: Console) -> Comparison:
    """Print every arm's numbers and where the files are."""
    table = Table(*STANDINGS_COLUMNS, box=None, pad_edge=False)
    for row in standings_rows(comparison):
        table.add_row(*row)
    console.print(table)
    console.print(f"Chart: {store.locate(PurePosixPath(comparison.comparison, 'comparison.png'))}", soft_wrap=True)
    return comparison

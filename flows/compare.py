"""``freeze-bench compare``: runs the flow in this process and shows how it goes on."""

import os
from pathlib import PurePosixPath

from rich.console import Console
from rich.table import Table

from flows.comparison import Comparison
from flows.settings import RunnerSettings
from flows.standings import STANDINGS_COLUMNS, standings_rows
from flows.watch import Watch
from worker.contract.plan import Plan
from worker.contract.store import ResultsStore

QUIET_PREFECT = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
"""Defaults for a flow that runs in the command itself: its log goes to the Prefect server and not over the live table,
and nothing is sent anywhere else."""


def compare_on_this_machine(plan: Plan, settings: RunnerSettings, console: Console, *, fresh: bool) -> Comparison:
    """Run the flow here, with the Prefect server that is configured or else a temporary one.

    Args:
        plan: What to compare.
        settings: Where results and cache are, and how many workers run at once.
        console: Where progress and standings go.
        fresh: Make results again that are in the store already.

    Raises:
        ArmsFailedError: Some arms have no result; the chart of the others is there.
        ConfigError: The store holds another experiment under this name.
        DataError: The data set cannot be used.
    """
    for name, value in QUIET_PREFECT.items():
        os.environ.setdefault(name, value)
    console.print(f"{plan.name}: {len(plan.arms)} arms, seeds {', '.join(map(str, plan.seeds))}", highlight=False)
    with console.status("Starting Prefect ..."):
        from flows.flow import compare_backbones  # noqa: PLC0415 - loads Prefect, with the environment above

    store = ResultsStore(settings.results)
    with Watch(store, plan, console, on_error=console.print):
        comparison = compare_backbones(plan, settings, fresh=fresh)
    return print_standings(comparison, store, console)


def print_standings(comparison: Comparison, store: ResultsStore, console: Console) -> Comparison:
    """Print every arm's numbers and where the files are."""
    table = Table(*STANDINGS_COLUMNS, box=None, pad_edge=False)
    for row in standings_rows(comparison):
        table.add_row(*row)
    console.print(table)
    console.print(f"Chart: {store.locate(PurePosixPath(comparison.comparison, 'comparison.png'))}", soft_wrap=True)
    return comparison

"""The command ``freeze-bench``. Loads what a command needs when it is called, so that help comes at once."""

import json
from typing import Annotated

import typer

from flows.cli_deployment import fetch, serve, submit
from flows.console import explained
from flows.options import (
    Cache,
    Device,
    Fresh,
    MetricsPort,
    NoMemoryCheck,
    Overrides,
    PlanPath,
    Results,
    Workers,
    make_settings,
)

app = typer.Typer(
    name="freeze-bench",
    help="Fine-tune the backbone, or train a small head on a frozen one? Train every candidate under the same "
    "conditions, and compare.",
    epilog="Start with: freeze-bench compare plans/demo.toml",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(
    epilog="Examples: freeze-bench compare plans/demo.toml  |  "
    "freeze-bench compare my-plan.toml --set training.steps=200 --workers 1"
)
def compare(  # noqa: PLR0913 - one parameter per option
    plan_path: PlanPath,
    overrides: Overrides = None,
    results: Results = None,
    cache: Cache = None,
    device: Device = None,
    workers: Workers = None,
    *,
    fresh: Fresh = False,
    no_memory_check: NoMemoryCheck = False,
    metrics_port: MetricsPort = None,
) -> None:
    """Train every arm of a plan on this machine and draw the comparison.

    Results that are in the store are reused. Ctrl-C keeps what is done; the same command goes on from there.
    Exit codes: 0 done, 1 an arm failed, 2 the plan or its data cannot be used.
    """
    from flows.compare import compare_on_this_machine  # noqa: PLC0415 - loads Prefect
    from flows.plan_file import load_plan  # noqa: PLC0415

    with explained() as console:
        check_memory = False if no_memory_check else None
        settings = make_settings(results, cache, device=device, num_workers=workers, check_memory=check_memory)
        plan = load_plan(plan_path, overrides or ())
        compare_on_this_machine(plan, settings, console, fresh=fresh, metrics_port=metrics_port)


@app.command(
    epilog="Examples: freeze-bench plan my-plan.toml --set seeds=[0,1,2]  |  freeze-bench plan my-plan.toml --tflops 60"
)
def plan(
    plan_path: PlanPath,
    overrides: Overrides = None,
    results: Results = None,
    cache: Cache = None,
    device: Device = None,
    tflops: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Rate by which times are told, in 10^12 operations per second. [default: measured on this machine]",
        ),
    ] = None,
) -> None:
    """Show what a plan would run, what is done already, and what each arm needs: memory, time, a GPU.

    Trains nothing, and fetches nothing but the config.json of backbones that are on the hub.
    """
    from flows.outlook_table import show_outlook  # noqa: PLC0415
    from flows.plan_file import load_plan  # noqa: PLC0415

    with explained() as console:
        settings = make_settings(results, cache, device=device)
        show_outlook(load_plan(plan_path, overrides or ()), settings, console, tflops=tflops)


@app.command(epilog="Examples: freeze-bench report out  |  freeze-bench report out/demo")
def report(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="Results store, or the folder of one comparison.")],
) -> None:
    """Draw charts and tables again, from the results store alone."""
    from flows.compare import print_standings  # noqa: PLC0415
    from flows.report import redraw  # noqa: PLC0415

    with explained() as console:
        redraw(results, lambda store, comparison: print_standings(comparison, store, console))


app.command(epilog="Example: freeze-bench serve --results s3://team/results")(serve)
app.command(
    epilog="Examples: freeze-bench submit my-plan.toml --watch  |  freeze-bench submit my-plan.toml --set seeds=[0,1,2]"
)(submit)
app.command(epilog="Example: freeze-bench fetch demo --results s3://team/results --to out")(fetch)


@app.command(epilog="Example: freeze-bench schema > plan.schema.json")
def schema() -> None:
    """Print the JSON schema of a plan file: every key with its meaning and bounds."""
    from worker.contract.plan import Plan  # noqa: PLC0415

    typer.echo(json.dumps(Plan.model_json_schema(), indent=2))

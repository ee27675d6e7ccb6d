"""The command ``freeze-bench``. Loads what a command needs when it is called, so that help comes at once."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from worker.contract.errors import ArmsFailedError, ConfigError, DataError, FreezeBenchError

if TYPE_CHECKING:
    from flows.settings import RunnerSettings

EXIT_ARM_FAILED = 1
EXIT_BAD_PLAN = 2
EXIT_INTERRUPTED = 130

PLAIN_WIDTH = 120
"""Characters of a line where the output is no terminal."""

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

PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="Plan file (TOML).", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the plan: --set training.steps=50"),
]
Results = Annotated[
    str | None,
    typer.Option(help="Results store: a folder or any fsspec URL. [default: $FREEZE_BENCH_RESULTS, or out]"),
]
Cache = Annotated[
    str | None,
    typer.Option(
        help="Folder for data, backbones and features. [default: $FREEZE_BENCH_CACHE, or ~/.cache/freeze-bench]"
    ),
]
Device = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="What workers compute on. [default: auto]")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Workers at once. [default: one per GPU; without GPUs two]"),
]


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
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is in the results store already.")] = False,
) -> None:
    """Train every arm of a plan on this machine and draw the comparison.

    Results that are in the store are reused. Ctrl-C keeps what is done; the same command goes on from there.
    Exit codes: 0 done, 1 an arm failed, 2 the plan or its data cannot be used.
    """
    from flows.compare import compare_on_this_machine  # noqa: PLC0415 - loads Prefect
    from flows.plan_file import load_plan  # noqa: PLC0415

    with _explained() as console:
        settings = _settings(results, cache, device=device, num_workers=workers)
        compare_on_this_machine(load_plan(plan_path, overrides or ()), settings, console, fresh=fresh)


@app.command(epilog="Example: freeze-bench plan my-plan.toml --set seeds=[0,1,2]")
def plan(
    plan_path: PlanPath,
    overrides: Overrides = None,
    results: Results = None,
    cache: Cache = None,
) -> None:
    """Show what a plan would run: arms, settings, what is done already. Trains and fetches nothing."""
    from flows.outlook import show_outlook  # noqa: PLC0415
    from flows.plan_file import load_plan  # noqa: PLC0415

    with _explained() as console:
        show_outlook(load_plan(plan_path, overrides or ()), _settings(results, cache), console)


@app.command(epilog="Examples: freeze-bench report out  |  freeze-bench report out/demo")
def report(
    results: Annotated[str, typer.Argument(metavar="RESULTS", help="Results store, or the folder of one comparison.")],
) -> None:
    """Draw charts and tables again, from the results store alone."""
    from flows.compare import print_standings  # noqa: PLC0415
    from flows.report import find_comparisons, write_report  # noqa: PLC0415

    with _explained() as console:
        found = find_comparisons(results)
        if not found:
            raise ConfigError(f"There is no comparison in {results}.", remedy="Name a results store or a folder in it.")
        drawn = [print_standings(write_report(each.store, each.plan), each.store, console) for each in found]
        gaps = [f"{gap.label}: {gap.reason}" for comparison in drawn for gap in comparison.missing]
        if gaps:
            raise ArmsFailedError("Arms without results: " + "; ".join(gaps), remedy="Run their plans again.")


@app.command(epilog="Example: freeze-bench schema > plan.schema.json")
def schema() -> None:
    """Print the JSON schema of a plan file: every key with its meaning and bounds."""
    from worker.contract.plan import Plan  # noqa: PLC0415

    typer.echo(json.dumps(Plan.model_json_schema(), indent=2))


@contextmanager
def _explained() -> Iterator[Console]:
    """Give a console, and turn an error that has a remedy into one message and an exit code, without a traceback."""
    try:
        yield Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, markup=False, highlight=False)
    except KeyboardInterrupt:
        _say("Stopped. What is done is kept: the same command goes on from there.", "yellow")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except OSError as error:
        _say(f"{error.strerror or error}: {error.filename or ''}\nCheck --results and --cache.", "red")
        raise typer.Exit(EXIT_ARM_FAILED) from None
    except FreezeBenchError as error:
        _say(f"{error.problem.rstrip()}\n{error.remedy}", "yellow" if isinstance(error, ArmsFailedError) else "red")
        is_bad_plan = isinstance(error, ConfigError | DataError)
        raise typer.Exit(EXIT_BAD_PLAN if is_bad_plan else EXIT_ARM_FAILED) from None


def _say(text: str, style: str) -> None:
    Console(stderr=True).print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _settings(results: str | None, cache: str | None, **others: object) -> "RunnerSettings":
    """Return the settings of the options that were given; the others come from the environment."""
    from flows.settings import RunnerSettings  # noqa: PLC0415 - pydantic

    given = {"results": results, "cache": cache, **others}
    return RunnerSettings.model_validate({name: value for name, value in given.items() if value is not None})

"""Options that several commands have, and the settings that follow from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from flows.settings import RunnerSettings

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

Fresh = Annotated[bool, typer.Option("--fresh", help="Train again what is in the results store already.")]

NoMemoryCheck = Annotated[
    bool,
    typer.Option("--no-memory-check", help="Also run arms that by estimate need more memory than any GPU here has."),
]

MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Show all arms to Prometheus on this port while they run, and until the last scrape (0: a free one). "
        "[default: none]",
    ),
]


def make_settings(results: str | None, cache: str | None, **others: object) -> "RunnerSettings":
    """Return the settings of the options that were given; the others come from the environment."""
    from flows.settings import RunnerSettings  # noqa: PLC0415 - pydantic

    given = {"results": results, "cache": cache, **others}
    return RunnerSettings.model_validate({name: value for name, value in given.items() if value is not None})

"""The commands around the deployment: ``serve``, ``submit`` and ``fetch``. Registered in ``flows.cli``."""

from typing import Annotated

import typer

from flows.console import EXIT_INTERRUPTED, explained, say
from flows.options import Cache, Device, Fresh, Overrides, PlanPath, Results, Workers, make_settings


def serve(
    results: Results = None,
    cache: Cache = None,
    device: Device = None,
    workers: Workers = None,
    limit: Annotated[int, typer.Option(min=1, max=64, help="Comparisons at once; each uses all of --workers.")] = 1,
) -> None:
    """Register the deployment compare-backbones with the Prefect server in use, and run what is submitted to it.

    Ctrl-C cancels what is running and keeps what is done: submit the same plan again and it goes on from there.
    Prefect ends a cancelled run within 30 s; a worker that needs longer for its checkpoint finishes that and then ends.
    Needs a Prefect server (PREFECT_API_URL or a profile); one that is away for some minutes stops no arm.
    """
    from flows.server import set_prefect_defaults  # noqa: PLC0415

    set_prefect_defaults()  # before Prefect is loaded by what follows
    from flows.serve import serve_deployment  # noqa: PLC0415

    with explained() as console:
        serve_deployment(make_settings(results, cache, device=device, num_workers=workers), console, limit=limit)


def submit(
    plan_path: PlanPath,
    overrides: Overrides = None,
    *,
    fresh: Fresh = False,
    shared_paths: Annotated[
        bool, typer.Option("--shared-paths", help="The plan's paths name the same files where it will run.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the run to its end.")] = False,
) -> None:
    """Have a plan compared by whoever runs `freeze-bench serve` on the Prefect server in use.

    Exit codes: 0 submitted (with --watch: done), 1 an arm failed or the run was cancelled, 2 the plan or its data
    cannot be used, 130 Ctrl-C: the run goes on.
    """
    from flows.server import set_prefect_defaults  # noqa: PLC0415

    set_prefect_defaults()  # before Prefect is loaded by what follows
    from flows.plan_file import load_plan  # noqa: PLC0415
    from flows.submit import follow, submit_plan  # noqa: PLC0415

    with explained() as console:
        plan = load_plan(plan_path, overrides or ())
        submission = submit_plan(plan, console, fresh=fresh, shared_paths=shared_paths)
        if not watch:
            return
        try:
            follow(submission, console)
        except KeyboardInterrupt:
            say(f"The run goes on. To cancel it: prefect flow-run cancel {submission.flow_run}", "yellow")
            raise typer.Exit(EXIT_INTERRUPTED) from None


def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the comparison.", show_default=False)],
    results: Results = None,
    to: Annotated[str, typer.Option(metavar="FOLDER", help="Where comparisons are kept on this machine.")] = "out",
) -> None:
    """Copy a comparison with every record from a results store to this machine.

    The same command again fetches only what is missing or has changed.
    """
    from flows.fetch import fetch_comparison  # noqa: PLC0415

    with explained() as console:
        fetch_comparison(name, make_settings(results, None).results, to, console)

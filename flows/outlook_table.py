"""``freeze-bench plan``: the outlook in words and numbers that a person reads."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.outlook import ArmOutlook, look_ahead_with_estimates
from flows.settings import RunnerSettings
from worker.contract.errors import OutOfDeviceMemoryError
from worker.contract.estimate import ArmEstimate, Machine, check_memory, format_bytes
from worker.contract.plan import Plan

_STATE_COLUMNS = ("arm", "mode", "backbone", "prepared", "done", "to run")
_NEEDS_COLUMNS = ("arm", "parameters", "trained", "peak memory", "time", "GPU")
_PREFIXES = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_TERA = 10**12


def show_outlook(plan: Plan, settings: RunnerSettings, console: Console, *, tflops: float | None = None) -> None:
    """Print the settings that all arms share, what becomes of each arm, what it needs, and what is in its way.

    Args:
        plan: What would be compared.
        settings: Where results and cache are, and what workers compute on.
        console: Where it goes.
        tflops: Rate by which times are told, in 10^12 operations per second; None takes the measured one.
    """
    outlooks = look_ahead_with_estimates(plan, settings)
    console.print(Text(plan.name, style="bold"), f"in {settings.results}/{plan.comparison}")
    for title, record in (("data", plan.data), ("training", plan.training)):
        values = ", ".join(f"{key} {value}" for key, value in record.model_dump(exclude_none=True).items())
        console.print(f"{title}: {values}")
    table = Table(*_STATE_COLUMNS, box=None, pad_edge=False)
    for outlook in outlooks:
        table.add_row(*_describe_state(outlook, plan.seeds))
    console.print(table)
    _show_needs(outlooks, console, tflops)
    for problem in _find_problems(outlooks, plan):
        console.print(problem, style="red", soft_wrap=True)


def format_count(count: int) -> str:
    """Write a number of parameters with three digits that count: 135M, 7.62B."""
    for factor, prefix in _PREFIXES:
        if count >= 0.9995 * factor:  # from here on, three digits with the smaller prefix would not be enough
            return f"{count / factor:#.3g}".rstrip(".") + prefix
    return str(count)


def format_seconds(seconds: float) -> str:
    """Write a duration in its largest unit: 4 min, 2.5 h."""
    for factor, unit in _UNITS:
        if seconds >= factor:
            return f"{seconds / factor:.2g} {unit}" if seconds < 10 * factor else f"{seconds / factor:.0f} {unit}"
    return "< 1 s"


def _describe_state(outlook: ArmOutlook, seeds: Sequence[int]) -> tuple[str, ...]:
    return (
        outlook.arm.label,
        outlook.arm.mode,
        outlook.arm.backbone.source,
        outlook.backbone.revision[:12] if outlook.backbone else "no",
        _list_seeds(outlook.done_seeds),
        _list_seeds([seed for seed in seeds if seed not in outlook.done_seeds]),
    )


def _show_needs(outlooks: Sequence[ArmOutlook], console: Console, tflops: float | None) -> None:
    """Print a line per arm, and what the numbers stand on; nothing if no arm could be estimated."""
    estimates = [outlook.estimate for outlook in outlooks if outlook.estimate]
    if not estimates:
        return
    machine = next((outlook.machine for outlook in outlooks if outlook.machine), None)
    measured = machine.flops_per_second if machine else None
    rate = tflops * _TERA if tflops else measured
    table = Table(*_NEEDS_COLUMNS, box=None, pad_edge=False)
    for outlook in outlooks:
        table.add_row(outlook.arm.label, *_describe_needs(outlook.estimate, rate))
    console.print(table)
    for sentence in _explain_needs(machine, rate, is_told=tflops is not None):
        console.print(sentence, soft_wrap=True)
    if any(estimate.lengths == "max_tokens" for estimate in estimates):
        console.print(
            "Where data or backbone are not in the cache, each text is taken to have max_tokens: upper bounds.",
            soft_wrap=True,
        )


def _explain_needs(machine: Machine | None, rate: float | None, *, is_told: bool) -> Iterator[str]:
    if rate is None:
        yield "Estimated for a GPU, and there is none here: --tflops tells times at a rate."
    else:
        source = "as told" if is_told else f"as measured on {machine.name}" if machine else ""
        yield (
            f"Estimated. Time: all seeds, at {rate / _TERA:.3g} TFLOP/s {source}; what is no matrix multiplication "
            "comes on top."
        )
    if machine is not None:
        yield f"{machine.name} has {format_bytes(machine.memory_bytes)}."


def _describe_needs(estimate: ArmEstimate | None, rate: float | None) -> tuple[str, ...]:
    if estimate is None:
        return ("?",) * (len(_NEEDS_COLUMNS) - 1)
    return (
        format_count(estimate.num_parameters),
        format_count(estimate.num_trained_parameters),
        format_bytes(estimate.memory.peak),
        format_seconds(estimate.seconds(rate)) if rate else "?",
        "1" if estimate.device == "cuda" else "none",
    )


def _find_problems(outlooks: Sequence[ArmOutlook], plan: Plan) -> Iterator[str]:
    for outlook in outlooks:
        if outlook.problem:
            yield f"{outlook.arm.label} would fail: {outlook.problem}"
        elif outlook.estimates and outlook.estimates.problem:
            yield f"{outlook.arm.label}: what it needs is not known. {outlook.estimates.problem}"
        elif outlook.estimate and outlook.machine and outlook.done_seeds != plan.seeds:
            try:
                check_memory(outlook.arm.label, outlook.estimate, plan.training, outlook.machine.memory_bytes)
            except OutOfDeviceMemoryError as error:
                yield f"{error.problem} {error.remedy}"


def _list_seeds(seeds: Sequence[int]) -> str:
    return ", ".join(f"seed {seed}" for seed in seeds) or "-"

"""Writes the tables of docs/metrics.md that follow from the code.

    python -m scripts.metrics_reference           # write
    python -m scripts.metrics_reference --check   # change nothing, fail where a table is not what it would write

What is measured comes from benchmarks/metrics_cost.py and benchmarks/scrape_cost.py.
"""

import argparse
import sys
from pathlib import Path

from flows.metrics.arms import MAX_SAMPLES, SHOWN_SECONDS
from worker.contract.metric_names import MAX_CURVE_POINTS, METRICS, PHASES, RUN_LABELS, STATES
from worker.durations import DURATION_BOUNDS

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
_SHORT = {RUN_LABELS: "run", tuple(label for label in RUN_LABELS if label != "seed"): "arm"}


class PageError(Exception):
    """The page has no place for a part."""


def replace_part(page: str, name: str, text: str) -> str:
    """Return the page with the part between ``<!-- name: begin -->`` and its end made anew.

    Raises:
        PageError: There is no such part.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise PageError(f"{PAGE.name} has no part {name!r}: put {begin.strip()!r} and {end!r} on lines of their own.")
    return f"{before}{begin}{text}\n{end}{after}"


def build_page(page: str) -> str:
    """Return the page with every table that follows from the code.

    Raises:
        PageError: It has no place for one of them.
    """
    for name, text in (("metrics", _build_metrics()), ("words", _build_words()), ("bounds", _build_bounds())):
        page = replace_part(page, name, text)
    return page


def _build_metrics() -> str:
    rows = ["| Metric | Kind | Labels | Unit | By | Meaning |", "|---|---|---|---|---|---|"]
    for metric in METRICS:
        sources = " and ".join(metric.sources)
        cells = (f"`{metric.name}`", metric.kind, _name_labels(metric.labels), metric.unit, sources, metric.help)
        rows.append(f"| {' | '.join(cells)} |")
    run, arm = (f"`{'`, `'.join(labels)}`" for labels in _SHORT)
    return "\n".join([*rows, "", f"*run* stands for {run}.", f"*arm* stands for {arm}."])


def _name_labels(labels: tuple[str, ...]) -> str:
    for known, short in _SHORT.items():
        if labels[: len(known)] == known:
            return ", ".join([f"*{short}*", *(f"`{label}`" for label in labels[len(known) :])])
    return ", ".join(f"`{label}`" for label in labels) or "none"


def _build_words() -> str:
    return "\n".join(
        [
            "| Label | Values |",
            "|---|---|",
            f"| `phase` | {', '.join(PHASES)} |",
            f"| `state` | {', '.join(STATES)} |",
            f"| `le` | {', '.join(map(repr, DURATION_BOUNDS))} seconds, +Inf |",
        ]
    )


def _build_bounds() -> str:
    return "\n".join(
        [
            "| Bound | Value |",
            "|---|---|",
            f"| points of a run's curve | {MAX_CURVE_POINTS} |",
            f"| samples that the flow side shows, those of the newest arms first | {MAX_SAMPLES:,} |",
            f"| hours without news until an arm is not shown any more | {SHOWN_SECONDS / 3600:g} |",
        ]
    )


def main() -> int:
    """Write the page, or only compare; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/metrics.md that follow from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a table has drifted")
    options = parser.parse_args()
    page = PAGE.read_text("utf-8")
    wanted = build_page(page)
    if options.check and page != wanted:
        sys.stderr.write(f"{PAGE} is not what the code says: run python -m scripts.metrics_reference\n")
        return 1
    if not options.check:
        PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

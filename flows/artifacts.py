"""Prefect artifacts of a comparison: the standings as a table, and the chart with its numbers as a page."""

import base64

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.comparison import Comparison
from flows.standings import STANDINGS_COLUMNS, standings_markdown, standings_rows


def publish_artifacts(comparison: Comparison, chart_png: bytes, location: str) -> None:
    """Show a comparison in the Prefect UI, under keys that keep a history per comparison.

    Args:
        comparison: What was compared.
        chart_png: The chart. It goes into the page itself, because the UI shows pictures only from public addresses.
        location: Where the files are, for readers: an address that a browser opens becomes a link.
    """
    create_table_artifact(
        key=f"{comparison.comparison}-standings",
        table=[dict(zip(STANDINGS_COLUMNS, row, strict=True)) for row in standings_rows(comparison)],
        description=comparison.caption,
    )
    picture = base64.b64encode(chart_png).decode()
    create_markdown_artifact(
        key=f"{comparison.comparison}-chart",
        markdown=(
            f"# {comparison.name}\n\n"
            f"![Accuracy against step](data:image/png;base64,{picture})\n\n"
            f"{comparison.caption}\n\n{standings_markdown(comparison)}\nFiles: {_link(location)}\n"
        ),
        description=f"Chart and standings of {comparison.name}",
    )


def _link(location: str) -> str:
    return f"[{location}]({location})" if location.startswith(("http://", "https://")) else f"`{location}`"

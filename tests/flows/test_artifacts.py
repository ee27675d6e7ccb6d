"""Prefect artifacts: published to a real server and read back as the UI does."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from flows.artifacts import publish_artifacts
from flows.comparison import Comparison
from flows.standings import STANDINGS_COLUMNS, standings_rows

MakeComparison = Callable[..., Comparison]


@pytest.fixture
def comparison(make_comparison: MakeComparison) -> Comparison:
    return make_comparison({"Frozen | A": [[0.25, 0.5, 0.75]], "Live B": []})


def publish(comparison: Comparison, chart: bytes) -> None:
    """Publish from inside a flow run, as the flow does."""
    from prefect import flow  # noqa: PLC0415 - Prefect is loaded when its server runs

    @flow(name="publish")
    def run() -> None:
        publish_artifacts(comparison, chart, "out/first-try")

    run()


def read(key: str) -> list[Any]:
    """Return every artifact of a key, oldest first."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - as above
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey  # noqa: PLC0415

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return sorted(found, key=lambda artifact: artifact.created)


@pytest.mark.usefixtures("prefect_server")
def test_the_standings_are_a_table_with_every_arm(comparison: Comparison) -> None:
    publish(comparison, b"")

    artifact = read("first-try-standings")[-1]
    assert artifact.type == "table"
    assert artifact.description == comparison.caption
    rows = json.loads(artifact.data)
    assert [tuple(row[column] for column in STANDINGS_COLUMNS) for row in rows] == standings_rows(comparison)


@pytest.mark.usefixtures("prefect_server")
def test_the_chart_is_a_page_that_needs_no_other_file(comparison: Comparison) -> None:
    publish(comparison, b"\x89PNG\r\n")

    artifact = read("first-try-chart")[-1]
    assert artifact.type == "markdown"
    assert artifact.data.startswith(
        f"# {comparison.name}\n\n![Accuracy against step](data:image/png;base64,iVBORw0K)\n"
    )
    assert comparison.caption in artifact.data
    assert "| Frozen \\| A | frozen |" in artifact.data
    assert "- Missing: Live B: " in artifact.data
    assert artifact.data.endswith("\nFiles: `out/first-try`\n")


@pytest.mark.usefixtures("prefect_server")
def test_publishing_again_keeps_the_history(comparison: Comparison) -> None:
    before = len(read("first-try-chart"))

    publish(comparison, b"first")
    publish(comparison, b"second")

    assert len(read("first-try-chart")) == before + 2

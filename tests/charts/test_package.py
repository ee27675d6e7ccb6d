"""The chart as a whole: linted, and as an archive."""

import tarfile
from pathlib import Path
from typing import Any

import helm_python

from chart_renderer import CHART


def test_helm_has_nothing_to_say_about_it_but_that_it_has_no_icon() -> None:
    findings = helm_python.lint(CHART, strict=True)

    assert [each["error"] for each in findings["messages"]] == ["icon is recommended"]


def test_an_archive_holds_what_installs_and_nothing_else(tmp_path: Path) -> None:
    with tarfile.open(helm_python.package(CHART, destination=tmp_path)) as archive:
        names = {name.removeprefix("freeze-bench/") for name in archive.getnames()}

    assert {"Chart.yaml", "values.yaml", "values.schema.json", "README.md", "files/plans/seed.toml"} <= names
    assert {"files/dashboards/freeze-bench.json", "files/rules/freeze-bench.yaml"} <= names
    assert [name for name in names if name.startswith("ci/")] == []


def test_an_archive_renders_as_the_folder_does(tmp_path: Path) -> None:
    values: dict[str, Any] = {"auth": {"existingSecret": "login"}}  # otherwise each has a password of its own
    archive = helm_python.package(CHART, destination=tmp_path)

    assert render_text(Path(archive), values) == render_text(CHART, values)


def render_text(path: Path, values: dict[str, Any]) -> dict[str, str]:
    """Return every rendered file."""
    with helm_python.Chart.load(path) as chart:
        return chart.render(values, name="bench", namespace="team")

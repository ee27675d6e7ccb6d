"""The chart's README says what the values are."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chart_renderer import CHART

SCRIPT = Path(__file__).parents[2] / "scripts/chart_readme.py"


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """Return a copy of what the script reads."""
    for name in ("README.md", "values.yaml"):
        shutil.copy(CHART / name, tmp_path / name)
    return tmp_path


def test_the_table_of_values_is_up_to_date() -> None:
    done = run_script("--check")

    assert done.returncode == 0, done.stderr


def test_a_changed_default_is_found_and_mended(chart: Path) -> None:
    replace(chart / "values.yaml", "plan: reference", "plan: demo")

    found = run_script("--check", "--chart", str(chart))
    assert found.returncode == 1
    assert "run python scripts/chart_readme.py" in found.stderr

    assert run_script("--chart", str(chart)).returncode == 0
    assert '| `plan` | `"demo"` |' in (chart / "README.md").read_text("utf-8")
    assert run_script("--check", "--chart", str(chart)).returncode == 0


def test_the_words_around_the_table_stay(chart: Path) -> None:
    before = (chart / "README.md").read_text("utf-8").partition("<!-- Written")[0]
    replace(chart / "values.yaml", "plan: reference", "plan: demo")
    run_script("--chart", str(chart))

    assert (chart / "README.md").read_text("utf-8").startswith(before)


def test_a_value_without_a_description_is_named(chart: Path) -> None:
    replace(chart / "values.yaml", "kueue:\n", "kueue:\n  cohort: none\n")

    found = run_script("--check", "--chart", str(chart))
    assert found.returncode == 1
    assert "kueue.cohort has no description" in found.stderr


def test_a_description_without_a_value_is_named(chart: Path) -> None:
    replace(chart / "values.yaml", "plan: reference", "")

    found = run_script("--check", "--chart", str(chart))
    assert found.returncode == 1
    assert "a key must follow the description" in found.stderr


def replace(path: Path, old: str, new: str) -> None:
    """Change a file in one place."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def run_script(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the script as a person would."""
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)

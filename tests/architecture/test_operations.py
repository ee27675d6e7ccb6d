"""The guides for administrators name tests and values that exist, and each failure what becomes of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations_guide import GUIDE, MARK, ROOT, TESTS, Failure, find_tests, read_commands, read_failures

GUIDES = [GUIDE, ROOT / "docs" / "security.md"]

CONSEQUENCES = ("waits", "stuck", "free retry", "counted", "stop", "refused", "goes on", "Jobs", "pages")
"""How the cell begins that says what happens; the guide explains the first seven."""


def value_keys(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield every key of the chart's values, with those above it."""
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from value_keys(value, f"{prefix}{name}.")


@pytest.fixture(scope="module")
def keys() -> set[str]:
    return set(value_keys(yaml.safe_load((ROOT / "charts" / "values.yaml").read_text("utf-8"))))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_test_that_is_named_exists(guide: Path) -> None:
    named = find_tests(guide.read_text("utf-8").replace("`tests/", "`"))

    assert named
    assert [test for test in named if not test.exists()] == []


def test_a_test_that_is_not_there_is_found_out() -> None:
    there, *lost = find_tests(
        "`flows/test_reaper.py::test_a_job_with_an_owner_stays_for_ever` `flows/test_reaper.py::test_nothing` "
        "`flows/test_pod_end.py[its node was drowned]` `flows/test_gone.py`"
    )

    assert there.exists()
    assert len(lost) == 3
    assert not any(test.exists() for test in lost)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_every_value_that_is_named_exists(guide: Path, keys: set[str]) -> None:
    text = guide.read_text("utf-8")
    tops = "|".join(key for key in keys if "." not in key)
    named = set(re.findall(rf"(?:`|--set )((?:{tops})(?:\.\w+)+)\b", text))
    named |= set(re.findall(r"`([a-z]+[A-Z]\w+)`", text))

    assert len(named) > 5
    assert named - keys == set()


@pytest.mark.parametrize("failure", read_failures(), ids=lambda failure: failure.name)
def test_a_failure_has_words_a_consequence_and_a_test(failure: Failure) -> None:
    assert failure.message
    assert failure.consequence.startswith(CONSEQUENCES)
    assert failure.tests


def test_every_fault_that_is_tested_is_in_the_table() -> None:
    named = {test.function for failure in read_failures() for test in failure.tests}

    for subject in ("disruptions", "outages", "failed_arms"):
        source = (TESTS / "cluster" / f"test_{subject}.py").read_text("utf-8")
        tested = re.findall(r"^def (test_\w+)", source, re.MULTILINE)
        assert tested
        assert set(tested) - named == set()


def test_commands_are_run_or_say_what_they_need() -> None:
    commands = read_commands()
    marked = [line for line in commands if MARK.search(line)]

    assert 10 < len(marked) < len(commands) / 2
    assert [line for line in commands if "# needs" in line and line not in marked] == []
    assert "read_commands" in (TESTS / "cluster" / "test_operations.py").read_text("utf-8")

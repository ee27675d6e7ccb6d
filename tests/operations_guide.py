"""docs/operations.md, taken apart: its commands, and the tests and values that it names."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "operations.md"
TESTS = ROOT / "tests"

MARK = re.compile(r"\s# needs (\S.*)$")
"""Ends a line that nobody here can run."""

_TEST = re.compile(r"`((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?(?:\[([^\]]+)\])?`")


class NamedTest(NamedTuple):
    """A test as a document names it: a file, and a function in it, or one of its cases, or both."""

    file: str
    function: str | None
    case: str | None

    def exists(self) -> bool:
        """Whether the file has all that is named."""
        path = TESTS / self.file
        source = path.read_text("utf-8") if path.exists() else ""
        has_function = self.function is None or f"\ndef {self.function}(" in source
        return bool(source) and has_function and (self.case is None or f'"{self.case}"' in source)


class Failure(NamedTuple):
    """A row of the table of failures."""

    name: str
    message: str
    consequence: str
    tests: list[NamedTest]


def read_commands() -> list[str]:
    """Return every line of the guide's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def read_scrape_config() -> dict[str, Any]:
    """Return the configuration of a Prometheus without the operator, as the guide has it."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (found,) = (block for block in blocks if block.startswith("scrape_configs:"))
    return dict(yaml.safe_load(found))


def find_tests(text: str) -> list[NamedTest]:
    """Return the tests that a text names."""
    return [NamedTest(file, function or None, case or None) for file, function, case in _TEST.findall(text)]


def read_failures() -> list[Failure]:
    """Return the table of failures."""
    table = GUIDE.read_text("utf-8").partition("<!-- failures: begin -->")[2].partition("<!-- failures: end -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return [Failure(name, message, consequence, find_tests(tests)) for name, message, consequence, tests in rows]

"""Values that the program tells people to change are values of the chart."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chart_renderer import CHART, read_values

ROOT = Path(__file__).parents[2]
VALUES = read_values(CHART / "values.yaml")
SECTIONS = "|".join(key for key, value in VALUES.items() if isinstance(value, dict))
NAME = re.compile(rf"(?<![/\w])(?:{SECTIONS})(?:\.[A-Za-z]+)+(?![\w-])")


def test_every_value_that_a_message_names_exists() -> None:
    named = {name for path in sorted((ROOT / "flows").rglob("*.py")) for name in find_names(path)}

    assert {"worker.gpu.count", "rbac.readNodes"} <= named
    assert [name for name in sorted(named) if not is_value(name)] == []


def find_names(path: Path) -> Iterator[str]:
    """Yield whatever looks like a value in the strings of a module, docstrings apart."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield from NAME.findall(node.value)


def is_value(name: str) -> bool:
    """Whether the chart has this value; limits and requests may hold any resource."""
    node: Any = VALUES
    for key in name.split("."):
        if not isinstance(node, dict) or (key not in node and key not in {"limits", "requests", "memory", "cpu"}):
            return False
        node = node.get(key, {})
    return True

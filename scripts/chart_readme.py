"""Writes the table of values in charts/README.md from the comments in charts/values.yaml.

A comment that begins with ``# --`` describes the value below it, or all values below that key.

    python scripts/chart_readme.py           # write
    python scripts/chart_readme.py --check   # change nothing, fail where the table is not what it would write
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "charts"
BEGIN = "<!-- Written by scripts/chart_readme.py from values.yaml -->"
END = "<!-- End of what is written -->"

_DESCRIPTION = re.compile(r"^\s*# -- (?P<text>.+)$")
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w./-]+):")


class ValuesError(Exception):
    """A value has no description, or a description no value."""


def read_descriptions(text: str) -> dict[tuple[str, ...], str]:
    """Return the description of each path that has one, in the order of the file.

    Raises:
        ValuesError: A description stands above no key.
    """
    found: dict[tuple[str, ...], str] = {}
    path: list[tuple[int, str]] = []
    pending: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if description := _DESCRIPTION.match(line):
            pending = description["text"]
        elif key := _KEY.match(line):
            indent = len(key["indent"])
            path = [(depth, name) for depth, name in path if depth < indent] + [(indent, key["key"])]
            if pending:
                found[tuple(name for _, name in path)] = pending
            pending = None
        elif pending:
            raise ValuesError(f"values.yaml, line {number}: a key must follow the description {pending!r}.")
    return found


def walk_values(values: dict[str, Any], described: set[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each described path with its value, and go no deeper there.

    Raises:
        ValuesError: A value has no description, and no key above it has one.
    """
    for key, value in values.items():
        path = (key,)
        if path in described:
            yield path, value
        elif isinstance(value, dict) and value:
            below = {each[1:] for each in described if each[0] == key}
            try:
                for rest, leaf in walk_values(value, below):
                    yield path + rest, leaf
            except ValuesError as error:
                raise ValuesError(f"{key}.{error}") from None
        else:
            raise ValuesError(f"{key} has no description in values.yaml: put `# -- what it does` above it.")


def build_table(text: str) -> str:
    """Return the Markdown table of a values file.

    Raises:
        ValuesError: Values and descriptions do not match.
    """
    descriptions = read_descriptions(text)
    rows = ["| Value | Default | Meaning |", "|---|---|---|"]
    for path, value in walk_values(yaml.safe_load(text), set(descriptions)):
        default = json.dumps(value).replace("|", "\\|")
        rows.append(f"| `{'.'.join(path)}` | `{default}` | {descriptions[path].replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def build_readme(readme: str, values: str) -> str:
    """Return the README with its table made anew; the text around it stays.

    Raises:
        ValuesError: The README has no place for the table, or the values do not match their descriptions.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValuesError(f"charts/README.md has no lines {BEGIN!r} and {END!r}.")
    return f"{before}{BEGIN}\n\n{build_table(values)}\n\n{END}{after}"


def main() -> int:
    """Write the README, or only compare; return the exit code."""
    parser = argparse.ArgumentParser(description="Write the table of values in charts/README.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the table has drifted")
    parser.add_argument("--chart", type=Path, default=CHART, help="folder of the chart")
    options = parser.parse_args()
    path = options.chart / "README.md"
    readme = path.read_text("utf-8")
    try:
        wanted = build_readme(readme, (options.chart / "values.yaml").read_text("utf-8"))
    except ValuesError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if readme == wanted:
        return 0
    if options.check:
        sys.stderr.write(f"{path} is not what values.yaml says: run python scripts/chart_readme.py\n")
        return 1
    path.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The dashboard's panels without a Grafana: their queries as it would send them, and the frames that it would draw.

Frames come from Grafana's own transformations, run in Node by ``tests/dashboard/transform.mjs``.
"""

import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
DASHBOARD = ROOT / "charts" / "files" / "dashboards" / "freeze-bench.json"
NODE_PROJECT = ROOT / "tests" / "dashboard"

ALL = "$__all"
"""What the variable of a dashboard holds when all of its values are chosen."""

RATE_INTERVAL = "60s"
"""What Grafana makes of ``$__rate_interval`` in a short range: four times the interval that it assumes for scrapes."""

OLDEST_NODE = 18

Panel = dict[str, Any]
Frame = dict[str, Any]
Value = str | Sequence[str]


class Query(NamedTuple):
    """One query of a panel, ready for Prometheus."""

    ref_id: str
    expression: str


def load_dashboard() -> dict[str, Any]:
    """Return the dashboard as the chart ships it."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return dashboard


def find_panel(dashboard: Mapping[str, Any], title: str) -> Panel:
    """Return the panel with this title, rows apart, as it stands in the dashboard: the curves' is ``$comparison``."""
    (panel,) = [each for each in dashboard["panels"] if each["title"] == title and each["type"] != "row"]
    found: Panel = panel
    return found


def panel_queries(panel: Panel, variables: Mapping[str, Value], seconds: int) -> list[Query]:
    """Return a panel's queries with their variables replaced as Grafana replaces them.

    Args:
        panel: A panel of the dashboard.
        variables: Value of each of the dashboard's variables that the panel uses, several, or ``ALL``.
        seconds: Length of the time range.

    Raises:
        KeyError: A variable has no value.
    """
    texts = {name: _find_all_value(name) if value == ALL else _format_value(value) for name, value in variables.items()}
    texts |= {"__range": f"{seconds}s", "__rate_interval": RATE_INTERVAL}

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        return match[0] if name.isdigit() else texts[name]  # $1 is a group of label_replace

    return [Query(each["refId"], re.sub(r"\$(\w+)", replace, each["expr"])) for each in panel.get("targets", [])]


def to_frames(panel: Panel, responses: Mapping[str, Mapping[str, Any]]) -> list[Frame]:
    """Return what a panel of tables draws: its responses as frames, after its transformations.

    Args:
        panel: A panel whose queries are instant and whose format is a table.
        responses: What Prometheus answered to each query, by ``refId``: ``data`` of its JSON, all asked for one time.

    Returns:
        Frames as ``{"refId", "fields": [{"name", "type", "values"}]}``.

    Raises:
        RuntimeError: Node has failed; the message is what it said.
    """
    is_alone = len(panel["targets"]) == 1
    frames = [
        _table(ref_id, data["result"], "Value" if is_alone else f"Value #{ref_id}")
        for ref_id, data in responses.items()
    ]
    done = subprocess.run(
        ["node", str(NODE_PROJECT / "transform.mjs")],
        cwd=installed_node_project(),
        input=json.dumps({"transformations": panel.get("transformations", []), "frames": frames}, allow_nan=False),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the transformations of {panel['title']!r} failed:\n{done.stderr}")
    transformed: list[Frame] = json.loads(done.stdout)
    return transformed


def installed_node_project() -> Path:
    """Return a folder in the user's cache with the packages of ``tests/dashboard``, installed by the first who asks.

    Raises:
        RuntimeError: Node is too old, or the packages could not be had.
    """
    _require_node()
    manifests = [NODE_PROJECT / name for name in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in manifests)).hexdigest()[:12]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "freeze-bench" / "dashboard-tools" / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _install(manifests, folder)
    return folder


def _install(manifests: Sequence[Path], folder: Path) -> None:
    print("Installing @grafana/data, once ...", file=sys.stderr, flush=True)  # noqa: T201 - it takes long
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for path in manifests:
            shutil.copy(path, made)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed; it needs a package registry:\n{done.stderr}")
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _require_node() -> None:
    if not (shutil.which("node") and shutil.which("npm")):
        subprocess.run([str(ROOT / "scripts" / "install-debian-packages"), "nodejs", "npm"], check=True)
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(said.strip().lstrip("v").partition(".")[0]) < OLDEST_NODE:
        raise RuntimeError(f"node is {said.strip()}; put {OLDEST_NODE} or later on PATH")


def _find_all_value(name: str) -> str:
    """Return what stands in a query when all values of a variable are chosen."""
    (variable,) = [each for each in load_dashboard()["templating"]["list"] if each["name"] == name]
    return str(variable["allValue"])


def _format_value(value: Value) -> str:
    """Write a value as Grafana's Prometheus data source writes it into a regular expression."""
    values = [_escape(each) for each in ([value] if isinstance(value, str) else value)]
    return values[0] if len(values) == 1 else f"({'|'.join(values)})"


def _escape(value: str) -> str:
    """Escape for a regular expression, and that again for a string of PromQL."""
    return re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value.replace("\\", "\\\\\\\\"))


def _table(ref_id: str, series: Sequence[Mapping[str, Any]], value_name: str) -> Frame:
    """Return a result as one table: time, a column for every label, value; no column at all if there is no series."""
    if not series:
        return {"refId": ref_id, "fields": []}
    labels = sorted({label for each in series for label in each["metric"]})
    values = [float(each["value"][1]) for each in series]
    return {
        "refId": ref_id,
        "fields": [
            {"name": "Time", "type": "time", "values": [round(each["value"][0] * 1000) for each in series]},
            *[
                {"name": label, "type": "string", "values": [each["metric"].get(label, "") for each in series]}
                for label in labels
            ],
            {
                "name": value_name,
                "type": "number",
                "values": [each if math.isfinite(each) else None for each in values],
            },
        ],
    }

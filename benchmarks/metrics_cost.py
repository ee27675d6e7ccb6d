"""Measures what the metrics cost: series, bytes, scrapes and memory; writes the table of docs/metrics.md.

    PYTHONPATH=.:tests python benchmarks/metrics_cost.py --json metrics-cost.json

Everything is real but for the results store, which is filled with finished arms of one seed and 111 points each.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx
import psutil

from flows.metrics.exporter import StoreExporter
from flows.metrics.store_reader import StoreReader
from prometheus_api import PrometheusApi
from recorded_prometheus import serve_prometheus
from scripts.metrics_reference import PAGE, replace_part
from stored_arms import StoredArms
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.plan import DataSpec, Plan, TrainingSettings
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore

NUM_POINTS = 111
NUM_ARMS = (7, 100, 500)
"""The last is more than can be shown."""
NUM_ARMS_IN_MEMORY = 1000
NUM_ARMS_IN_PROMETHEUS = 300
SCRAPES_SECONDS = 40
REPEATS = 7


@dataclass(frozen=True)
class Cost:
    """What one number of arms costs on the flow side."""

    arms: int
    arms_shown: int
    series: int
    bytes_plain: int
    bytes_zipped: int
    scrape_ms_first: float
    """The first of all, zipped as Prometheus asks for it."""
    scrape_ms_next: float
    """Of a new state, in which one arm is another."""
    scrape_ms_again: float
    """Of a state that was scraped before."""
    look_ms_first: float
    look_ms_again: float
    """Of a store in which nothing has changed."""


def fill(folder: str, num_arms: int) -> StoredArms:
    """Return one comparison of finished arms in a results store."""
    arms = tuple(
        Arm(label=f"Arm {number}", backbone=BackboneSpec(source="acme/base-model"), mode=list(Mode)[number % 2])
        for number in range(num_arms)
    )
    data, training = DataSpec(source="news.csv"), TrainingSettings(steps=NUM_POINTS - 1)
    stored = StoredArms(ResultsStore(folder), Plan(name="Cost", seeds=(0,), data=data, training=training, arms=arms))
    stored.put_plan()
    accuracies = [0.25 + 0.5 * step / NUM_POINTS for step in range(NUM_POINTS)]
    stored.put_finished({arm.label: [accuracies] for arm in arms}, at=time.time())
    return stored


def milliseconds(action: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - began)


def measure(num_arms: int) -> Cost:
    """Measure one number of arms."""
    with tempfile.TemporaryDirectory() as folder:
        stored = fill(folder, num_arms)
        exporter = StoreExporter(stored.store, 0)
        look_first = milliseconds(exporter.look)
        look_again = median(milliseconds(exporter.look) for _ in range(REPEATS))
        exporter.start()
        try:
            with httpx.Client(trust_env=False, timeout=60) as client:
                scrape_first = milliseconds(lambda: client.get(exporter.address))
                following, again = [], []
                for _ in range(REPEATS):
                    arm = stored.plan.arms[0]
                    stored.put_status(arm, ArmState.DONE, at=time.time(), detail="seen again")
                    exporter.look()
                    following.append(milliseconds(lambda: client.get(exporter.address)))
                    again.append(milliseconds(lambda: client.get(exporter.address)))
                plain = client.get(exporter.address, headers={"Accept-Encoding": "identity"})
                with client.stream("GET", exporter.address) as zipped:
                    num_zipped = sum(map(len, zipped.iter_raw()))
        finally:
            exporter.stop()
    lines = plain.text.splitlines()
    num_shown = sum(line.startswith("freeze_bench_arm_attempts{") for line in lines)
    assert sum("by_step_ratio{" in line for line in lines) == num_shown * NUM_POINTS
    return Cost(
        arms=num_arms,
        arms_shown=num_shown,
        series=sum(not line.startswith("#") for line in lines),
        bytes_plain=len(plain.content),
        bytes_zipped=num_zipped,
        scrape_ms_first=scrape_first,
        scrape_ms_next=median(following),
        scrape_ms_again=median(again),
        look_ms_first=look_first,
        look_ms_again=look_again,
    )


def memory_of_reader(num_arms: int) -> int:
    """Return by how many bytes a process grows that follows so many arms; asked of a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        fill(folder, num_arms)
        output = subprocess.run(
            [sys.executable, __file__, "--follow", folder], check=True, capture_output=True, text=True
        ).stdout
    return int(output)


def follow(folder: str) -> int:
    """Follow a store in this process, and return by how much that made it grow."""
    reader, process = StoreReader(ResultsStore(folder)), psutil.Process()
    before = process.memory_info().rss
    snapshot = reader.look(time.time())
    assert snapshot.arms
    return int(process.memory_info().rss - before)


def memory_per_series(num_arms: int) -> float:
    """Return by how many bytes a Prometheus grows per series, compared with one that scrapes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        exporter = StoreExporter(fill(folder, num_arms).store, 0)
        exporter.look()
        exporter.start()
        try:
            empty, _ = _prometheus_memory(None)
            full, num_series = _prometheus_memory(exporter.address)
        finally:
            exporter.stop()
    return (full - empty) / num_series


def _prometheus_memory(address: str | None) -> tuple[int, int]:
    """Return the resident bytes of a Prometheus after some scrapes of an address, and its number of series."""
    url = urlsplit(address or "http://127.0.0.1:1")
    job = {"job_name": "freeze-bench", "metrics_path": url.path, "static_configs": [{"targets": [url.netloc]}]}
    config = {"global": {"scrape_interval": "2s"}, "scrape_configs": [job] if address else []}
    with tempfile.TemporaryDirectory() as folder, serve_prometheus(config, Path(folder)) as api:
        until = time.monotonic() + SCRAPES_SECONDS
        most = 0
        while time.monotonic() < until:
            own = _read_own(api)
            most = max(most, int(own["process_resident_memory_bytes"]))
            time.sleep(1)
        num_series = int(own["prometheus_tsdb_head_series"])
        assert num_series or not address, "nothing was scraped"
    return most, num_series


def _read_own(api: PrometheusApi) -> dict[str, float]:
    """Return what a Prometheus says of itself, by the names of those of its metrics that have no labels."""
    text = httpx.get(f"{api.address}/metrics", trust_env=False).text
    lines = [line.split() for line in text.splitlines() if line[0] != "#" and "{" not in line]
    return {name: float(value) for name, value in lines}


def build_table(costs: list[Cost], memory: int, per_series: float) -> str:
    """Return the part of the page."""
    rows = [
        "One seed and 111 points per arm, measured by `benchmarks/metrics_cost.py`.",
        "",
        "| | " + " | ".join(f"{cost.arms} arms" for cost in costs) + " |",
        "|---|" + "---|" * len(costs),
    ]
    for name, cells in (
        ("of them shown", [f"{cost.arms_shown}" for cost in costs]),
        ("series on the flow side", [f"{cost.series:,}" for cost in costs]),
        ("bytes of a scrape, plain", [f"{cost.bytes_plain:,}" for cost in costs]),
        ("bytes of a scrape, zipped", [f"{cost.bytes_zipped:,}" for cost in costs]),
        ("bytes per series, plain", [f"{cost.bytes_plain / cost.series:.0f}" for cost in costs]),
        ("milliseconds of the first scrape", [f"{cost.scrape_ms_first:.0f}" for cost in costs]),
        ("milliseconds of a scrape after one arm has changed", [f"{cost.scrape_ms_next:.0f}" for cost in costs]),
        ("milliseconds of a second scrape of the same state", [f"{cost.scrape_ms_again:.0f}" for cost in costs]),
        ("milliseconds of the first look at the store", [f"{cost.look_ms_first:.0f}" for cost in costs]),
        ("milliseconds of a look when nothing has changed", [f"{cost.look_ms_again:.0f}" for cost in costs]),
    ):
        rows.append(f"| {name} | {' | '.join(cells)} |")
    growth = f"Following {NUM_ARMS_IN_MEMORY:,} arms takes {memory / 2**20:.0f} MiB of the runner's memory."
    prometheus = f"A Prometheus takes {per_series / 1000:.1f} kB of memory for each series that it scrapes every 2 s."
    return "\n".join([*rows, "", growth, prometheus])


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description="Measure what the metrics cost.")
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        print(follow(options.follow))
        return
    costs, memory = [measure(num_arms) for num_arms in NUM_ARMS], memory_of_reader(NUM_ARMS_IN_MEMORY)
    per_series = memory_per_series(NUM_ARMS_IN_PROMETHEUS)
    table = build_table(costs, memory, per_series)
    PAGE.write_text(replace_part(PAGE.read_text("utf-8"), "costs", table), "utf-8")
    if options.json:
        figures = {
            "arms": [asdict(cost) for cost in costs],
            "memory_bytes_at_1000_arms": memory,
            "prometheus_bytes_per_series": per_series,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(table)


if __name__ == "__main__":
    main()

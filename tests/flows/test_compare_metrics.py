"""``freeze-bench compare --metrics-port``: the real command, followed by a real scraper."""

import re
import socket
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import Result

from worker.contract.store import ResultsStore, RunRecords

ARMS = ("live-llama", "frozen-llama", "frozen-qwen2-5")
Key = tuple[str, str, str]
Followed = tuple[Path, str, list[dict[Key, float]]]

Start = Callable[..., "subprocess.Popen[bytes]"]
Wait = Callable[..., None]


def curves(text: str) -> dict[Key, float]:
    """Return the accuracies of a scrape by arm, seed and step."""
    return {
        (sample.labels["arm"], sample.labels["seed"], sample.labels["step"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "freeze_bench_eval_accuracy_by_step_ratio"
    }


def stored_curves(results: Path) -> dict[Key, float]:
    """Return what the results store holds, in the same form."""
    store = ResultsStore(str(results))
    return {
        (arm, str(seed), str(point.step)): point.validation_accuracy
        for arm in ARMS
        for seed in (0, 1)
        for point in RunRecords(store, "small", arm, seed).read_curve()
        if point.validation_accuracy is not None
    }


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, workplace: Path, start_cli: Start, wait_until: Wait) -> Followed:
    """The small plan was compared and scraped: its results, what the command said, the curves of each scrape."""
    folder = tmp_path_factory.mktemp("followed")
    output = folder / "output"
    command = ("compare", workplace / "small.toml", "--workers", 2, "--metrics-port", 0)
    process = start_cli(*command, "--results", folder / "results", output=output)
    pattern = re.compile(r"^Metrics: (http://127\.0\.0\.1:\d+/metrics)$", re.MULTILINE)
    wait_until(lambda: pattern.search(output.read_text("utf-8")) or process.poll() is not None, "the address")
    found = pattern.search(output.read_text("utf-8"))
    assert found, output.read_text("utf-8")
    scrapes: list[dict[Key, float]] = []
    with httpx.Client(trust_env=False, timeout=30) as client:
        while process.poll() is None:
            try:
                scrapes.append(curves(client.get(found[1]).text))
            except httpx.TransportError:  # it has ended between the question and the answer
                break
    assert process.wait(60) == 0, output.read_text("utf-8")
    return folder / "results", output.read_text("utf-8"), scrapes


def test_the_last_scrape_has_every_point_of_the_results_store(
    followed: Followed,
) -> None:
    results, _, scrapes = followed

    assert scrapes[-1] == stored_curves(results)
    assert len(scrapes[-1]) == 3 * 2 * 9


def test_a_point_that_was_shown_stays_as_it_is(followed: Followed) -> None:
    _, _, scrapes = followed

    for earlier, later in pairwise(scrapes):
        assert earlier.items() <= later.items()


def test_the_standings_stand_before_the_wait_for_the_last_scrape(
    followed: Followed,
) -> None:
    results, said, _ = followed
    lines = said.splitlines()

    chart = lines.index(f"Chart: {results}/small/comparison.png")
    assert [line.partition("last scrape")[0] for line in lines[chart + 1 :]] == ["Waiting up to 60 s for the "]


def test_nobody_is_waited_for_who_never_scraped(
    tmp_path: Path, workplace: Path, start_cli: Start, wait_until: Wait
) -> None:
    output = tmp_path / "output"
    arm = '{label = "Frozen Llama", backbone = "./backbones/llama", mode = "frozen"}'
    command = ("compare", workplace / "small.toml", "--metrics-port", 0, "--set", "training.steps=2")
    process = start_cli(*command, "--set", f"arms=[{arm}]", "--results", tmp_path / "results", output=output)
    wait_until(lambda: process.poll() is not None, "the command to end", seconds=240)

    assert process.returncode == 0, output.read_text("utf-8")
    assert "Metrics: http://127.0.0.1:" in output.read_text("utf-8")
    assert "last scrape" not in output.read_text("utf-8")


def test_where_everything_is_done_there_is_nothing_to_follow(
    invoke: Callable[..., Result], workplace: Path, copied: Path
) -> None:
    done = invoke("compare", workplace / "small.toml", "--results", copied, "--metrics-port", 0)

    assert done.exit_code == 0, done.output
    assert "Every result is in the store; nothing to run, and no metrics to follow." in done.output
    assert "Metrics:" not in done.output


def test_a_port_that_is_taken_stops_the_command_before_anything_is_run(
    invoke: Callable[..., Result], workplace: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = invoke("compare", workplace / "small.toml", "--results", tmp_path / "new", "--metrics-port", port)

    assert refused.exit_code == 1
    assert f"The metrics cannot be served on 127.0.0.1:{port}: Address already in use." in refused.output
    assert not (tmp_path / "new").exists()

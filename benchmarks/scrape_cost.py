"""Measures what scrapers cost a training: one that asks ten times a second, and one that never reads its answers.

    PYTHONPATH=.:tests python benchmarks/scrape_cost.py --pairs 12 --json scrape-cost.json

One live arm is trained, and shown beside curves with as many points as the longest that may be shown. Blocks of its
steps are left alone and scraped by both, and the order changes from pair to pair, so that what else happens on the
machine meets both kinds alike. Steps take longer than the scrapers' interval: each of them meets a scrape.
Writes its table into docs/metrics.md, and fails if the median step takes 2 % longer.
"""

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

MOST = 1.02
"""Times the median step that is left alone."""

INTERVAL_SECONDS = 0.1
BLOCK_STEPS = 8
NUM_HELD = 8
"""Answers that are not read, at once: half of what a worker has places for, so that the other scraper has one."""

RECEIVED_BYTES, SEGMENT_BYTES = 4096, 536
"""What the system takes for a scraper that does not read; with segments as large as loopback's it takes megabytes."""


def scrape_often(port: int, is_open: Event) -> None:
    """Scrape ten times a second, while that is wanted."""
    while is_open.wait():
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.read().startswith(b"# HELP")
        time.sleep(INTERVAL_SECONDS)


def never_read(port: int, is_open: Event) -> None:
    """Ask ten times a second, while that is wanted, and read no answer."""
    held: list[socket.socket] = []
    while True:
        if not is_open.is_set():
            for connection in held:
                connection.close()
            held = []
            is_open.wait()
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        held.append(connection)
        if len(held) > NUM_HELD:
            held.pop(0).close()
        time.sleep(INTERVAL_SECONDS)


def make_config(folder: Path, steps: int, batch_size: int) -> Any:  # noqa: ANN401 - a RunConfig: scrapers do not load it
    """Prepare data and a tiny backbone, and return the arm that is trained on them."""
    from tiny_repositories import make_repository  # noqa: PLC0415 - seconds, which the scrapers need not wait for
    from worker.backbone import prepare_backbone  # noqa: PLC0415
    from worker.contract.arms import Arm, BackboneSpec, Mode  # noqa: PLC0415
    from worker.contract.config import Execution, RunConfig  # noqa: PLC0415
    from worker.contract.plan import LANGUAGE_NAMES, DataSpec, TrainingSettings  # noqa: PLC0415
    from worker.data import prepare_data  # noqa: PLC0415

    spec = BackboneSpec(source=str(make_repository(folder / "llama", "llama")))
    data = prepare_data(DataSpec(source=LANGUAGE_NAMES, train_examples=640, validation_examples=40), folder)
    assert data is not None
    backbone = prepare_backbone(spec, data, folder)
    assert backbone is not None
    return RunConfig(
        comparison="cost",
        arm=Arm(label="Live llama", backbone=spec, mode=Mode.LIVE),
        seeds=(0,),
        data=data,
        backbone=backbone,
        training=TrainingSettings(
            steps=steps, batch_size=batch_size, max_tokens=48, warmup_steps=3, backbone_lr=(1e-3,)
        ),
        execution=Execution(results=str(folder / "results"), cache=str(folder), device="cpu", num_threads=1),
    )


def is_scraped(block: int) -> bool:
    """Whether a block of steps is: alone and scraped, then scraped and alone, and so on."""
    return block % 4 in {1, 2}


def show_long_curves(config: Any) -> Any:  # noqa: ANN401 - as above, and a Monitor
    """Return the monitor of the arm, which shows other seeds beside it: as many points as the longest curve has."""
    from worker.contract.metric_names import MAX_CURVE_POINTS  # noqa: PLC0415
    from worker.contract.results import EvalPoint  # noqa: PLC0415
    from worker.monitor import Monitor  # noqa: PLC0415

    points = [EvalPoint(step=step, validation_accuracy=0.5) for step in range(config.training.steps + 1)]
    others = range(1, 1 + -(-MAX_CURVE_POINTS // len(points)))
    monitor = Monitor(config.model_copy(update={"seeds": (0, *others)}))
    for seed in others:
        monitor.show(seed, points, num_updates=0)
    return monitor


def train(config: Any, num_pairs: int) -> list[dict[str, float]]:  # noqa: ANN401 - as above
    """Train the arm, and return the median step of each pair of blocks, in seconds."""
    from worker.contract.store import ResultsStore  # noqa: PLC0415
    from worker.durations import DurationHistogram  # noqa: PLC0415
    from worker.exporter import serve_metrics  # noqa: PLC0415
    from worker.recorder import RunRecorder  # noqa: PLC0415
    from worker.train import ArmTraining  # noqa: PLC0415

    spawn = get_context("spawn")
    is_open = spawn.Event()
    blocks: list[list[float]] = [[]]
    num_threads: list[int] = []

    class Kept(DurationHistogram):
        def observe(self, seconds: float) -> None:
            super().observe(seconds)
            blocks[-1].append(seconds)
            if len(blocks[-1]) == BLOCK_STEPS:
                num_threads.append(threading.active_count())
                blocks.append([])
                (is_open.set if is_scraped(len(blocks) - 1) else is_open.clear)()

    store, monitor = ResultsStore(config.execution.results), show_long_curves(config)
    monitor.step_durations = Kept()
    port = serve_metrics(monitor, "127.0.0.1", 0)
    scrapers = [spawn.Process(target=each, args=(port, is_open), daemon=True) for each in (scrape_often, never_read)]
    for scraper in scrapers:
        scraper.start()
    try:
        ArmTraining(config, monitor, {0: RunRecorder(store, config, 0)}, store).train()
        assert all(scraper.is_alive() for scraper in scrapers), "a scraper has ended"
    finally:
        for scraper in scrapers:
            scraper.terminate()
            scraper.join()
    # The first pair warms up; the first step of a block belongs in part to the one before.
    counted = range(2, 2 * num_pairs + 2)
    held = [median(num_threads[at] for at in counted if is_scraped(at) is scraped) for scraped in (True, False)]
    assert held[0] - held[1] >= NUM_HELD / 2, f"answers are not held: {held} threads with scrapers and without"
    keys = {True: "scraped", False: "alone"}
    medians = [(keys[is_scraped(at)], median(blocks[at][1:])) for at in counted]
    return [dict(medians[at : at + 2]) for at in range(0, len(medians), 2)]


def build_table(pairs: list[dict[str, float]], ratio: float) -> str:
    """Return the part of the page."""
    alone, scraped = (1000 * median(pair[key] for pair in pairs) for key in ("alone", "scraped"))
    ratios = [pair["scraped"] / pair["alone"] for pair in pairs]
    found = (
        f"Over {len(pairs)} pairs of {BLOCK_STEPS} steps each, the median of the ratios is {ratio:.3f}, between "
        f"{min(ratios):.3f} and {max(ratios):.3f}.\n"
        f"`benchmarks/scrape_cost.py` measures it, and fails above {MOST:g}."
    )
    return "\n".join(
        [
            "| Median step | milliseconds |",
            "|---|---|",
            f"| left alone | {alone:.1f} |",
            f"| scraped ten times a second, and by one that holds {NUM_HELD} answers unread | {scraped:.1f} |",
            "",
            found,
        ]
    )


def main() -> int:
    """Measure, print, and write the page; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure what scrapers cost a training.")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--json", type=Path, help="where the figures go as well")
    options = parser.parse_args()
    from scripts.metrics_reference import PAGE, replace_part  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        config = make_config(Path(folder), 2 * BLOCK_STEPS * (options.pairs + 1), options.batch_size)
        pairs = train(config, options.pairs)
    assert median(pair["alone"] for pair in pairs) > INTERVAL_SECONDS, "steps are shorter than the scrapers' interval"
    ratio = median(pair["scraped"] / pair["alone"] for pair in pairs)
    table = build_table(pairs, ratio)
    PAGE.write_text(replace_part(PAGE.read_text("utf-8"), "scrapers", table), "utf-8")
    if options.json:
        options.json.write_text(json.dumps({"pairs": pairs, "ratio": ratio}, indent=2) + "\n", "utf-8")
    print(table)
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())

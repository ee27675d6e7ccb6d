"""The evaluation batch of a peer: the size that is fastest on this machine, searched once and kept in the cache."""

import json
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.measurement import Bench
from benchmarks.peers.task import Task, longest_first
from benchmarks.works import Work
from worker.contract.local_files import write_file_atomically
from worker.contract.records import content_hash
from worker.device import device_name

SIZES = (8, 16, 32, 64, 128, 256, 512)
_MAX_TEXTS = 512
_MIN_SECONDS = 1.0
"""Passes of one size are repeated for so long, and the fastest counts."""


def find_eval_batch(bench: Bench, work: Work, task: Task) -> int:
    """Return the size of evaluation batch that passes the validation texts forward fastest."""
    key = [work.name, task.settings.max_tokens, device_name(task.device), torch.__version__, torch.get_num_threads()]
    path = bench.cache / "eval-batches" / f"{content_hash(key)}.json"
    if path.exists():
        seconds_by_size = json.loads(path.read_text("utf-8"))
    else:
        encoded = longest_first(task.encode(task.validation[:_MAX_TEXTS]))
        sizes = [size for size in SIZES if size <= len(encoded)]
        _pass_forward(task, encoded[: sizes[0]], sizes[0])
        seconds_by_size = {size: _fastest(task, encoded, size) for size in sizes}
        write_file_atomically(path, json.dumps(seconds_by_size).encode())
    return int(min(seconds_by_size, key=seconds_by_size.__getitem__))


def _fastest(task: Task, encoded: Sequence[dict[str, Any]], size: int) -> float:
    seconds: list[float] = []
    while not seconds or sum(seconds) < _MIN_SECONDS:
        began = time.perf_counter()
        _pass_forward(task, encoded, size)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _pass_forward(task: Task, encoded: Sequence[dict[str, Any]], size: int) -> None:
    task.model.eval()
    with torch.inference_mode():
        for first in range(0, len(encoded), size):
            task.model(**task.collate(encoded[first : first + size]))["logits"].cpu()

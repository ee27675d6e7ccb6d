"""How long a new process needs: a worker until its first point, and Python until the libraries are there."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measurement import Bench, Measurement
from benchmarks.work_files import run_config
from benchmarks.works import Work
from worker.contract.arms import Mode

_IMPORT = """
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.models.llama.modeling_llama import LlamaModel
print("imported", flush=True)
"""


def start_worker(bench: Bench, work: Work, mode: str) -> Measurement:
    """Start a worker twice, and return ``seconds`` of the second from its start to the point of step 0.

    The first puts tokens and features into the cache and all files into the page cache. The arm has a single step, so
    that it ends by itself.
    """
    one_step = work.training.model_copy(update={"steps": 1, "warmup_steps": 0})
    config = run_config(bench, work.model_copy(update={"training": one_step}), Mode(mode), bench.cache)
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder, "run.json")
        for attempt in ("first", "second"):
            execution = config.execution.model_copy(
                update={"results": str(Path(folder, attempt)), "flush_seconds": 0.0, "metrics_port": 0}
            )
            document.write_text(config.model_copy(update={"execution": execution}).model_dump_json(), "utf-8")
            seconds = _seconds_to_line([sys.executable, "-m", "worker", str(document)], _is_first_point)
    return Measurement(values={"seconds": seconds})


def import_libraries(_bench: Bench) -> Measurement:
    """Import torch and the classes of transformers that the worker uses, twice; return ``seconds`` of the second."""
    command = [sys.executable, "-c", _IMPORT]
    for _ in range(2):
        seconds = _seconds_to_line(command, lambda line: line.strip() == "imported")
    return Measurement(values={"seconds": seconds})


def _is_first_point(line: str) -> bool:
    """Whether a worker's log says that the point of step 0 is in the store."""
    event = json.loads(line)
    return bool(event["event"] == "progress" and event["step"] == 0)


def _seconds_to_line(command: Sequence[str], is_it: Callable[[str], bool]) -> float:
    """Return the time from the start of a process to a line of its output; the process is let run to its end.

    Raises:
        RuntimeError: It failed, or never wrote that line.
    """
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seconds = next((time.perf_counter() - began for line in process.stdout if is_it(line)), None)
        rest = process.stdout.read()
    if process.returncode or seconds is None:
        raise RuntimeError(f"{' '.join(command[:3])} ended with exit code {process.returncode}: {rest[-2000:]}")
    return seconds

"""Each side is measured in a process of its own, so that neither finds what the other has warmed up or left behind."""

import os
import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection

from benchmarks.measurement import Bench, Measurement, Side

_LIBRARIES = [
    "torch",
    "torch._dynamo",
    "accelerate",
    "transformers.trainer",
    "transformers.models.llama.modeling_llama",
    "worker.train",
]
"""Loaded once, in the process that the others are forked from: each import would take 4 to 8 s, dozens of times."""

LOG_FILE = "last-side.log"
"""In the bench's cache: what the side that was measured last has printed."""

_STANDARD_OUTPUT = 1


class SideFailedError(Exception):
    """A side has ended without a measurement; its traceback went to standard error."""


def measure_in_process(side: Side, bench: Bench) -> Measurement:
    """Measure a side in a new process.

    Raises:
        SideFailedError: It ended without a measurement.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    # CUDA cannot be used after a fork once anything has asked for the number of GPUs, as libraries do.
    needs_spawn = side.has_own_imports or bench.device == "cuda"
    start = get_context("spawn").Process if needs_spawn else context.Process
    receiver, sender = context.Pipe(duplex=False)
    process = start(target=_measure_and_send, args=(side, bench, sender))
    process.start()
    sender.close()
    try:
        measurement: Measurement = receiver.recv()
    except EOFError:
        process.join()
        raise SideFailedError(
            f"{side.title} ended with exit code {process.exitcode} and no measurement. Its traceback is above; name a "
            "claim that needs it to measure it alone."
        ) from None
    except KeyboardInterrupt:
        process.terminate()
        raise
    finally:
        receiver.close()
        process.join()
    return measurement


def _measure_and_send(side: Side, bench: Bench, sender: Connection) -> None:
    """Measure a side; what it prints goes into a file, as a worker's log does. Ctrl-C is for the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (bench.cache / LOG_FILE).open("wb") as log:
        os.dup2(log.fileno(), _STANDARD_OUTPUT)
    from worker.events import configure_events  # noqa: PLC0415 - loaded already in most of these processes

    configure_events()
    sender.send(side.measure(bench))
    sender.close()

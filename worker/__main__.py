"""The worker process: ``python -m worker [CONFIG]`` reads one document, does what it says, and ends with its code.

The document is a ``RunConfig`` or a ``PrepareConfig``, from the file named, or from the environment variable
``FREEZE_BENCH_CONFIG``. ``python -m worker estimate [CONFIG]`` says instead what the arm of a ``RunConfig`` would need.
This module alone turns errors into exit codes and last words.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TextIO

from pydantic import TypeAdapter, ValidationError

from worker.arm_lock import only_worker_of
from worker.contract.config import RUN_CONFIG_ENV, TERMINATION_LOG_ENV, PrepareConfig, RunConfig, WorkerConfig
from worker.contract.errors import ConfigError, ExitCode, FreezeBenchError, StoreError
from worker.contract.proof import is_done
from worker.contract.results import Failure
from worker.contract.store import ResultsStore
from worker.events import configure_events, log
from worker.lifecycle import Terminated, end_on_signals, end_with_parent, stopping_signal
from worker.prepare import prepare

_EPILOG = f"""
examples:
  python -m worker run.json
  {RUN_CONFIG_ENV}="$(cat run.json)" python -m worker
  python -m worker estimate run.json

exit codes:
  0 done; 40 config, 41 data, 42 backbone, 43 out of device memory, 44 non-finite loss, 45 device missing
  (these will fail again); 143 stopped; 1 anything else (may be retried)
"""

_ESTIMATE = "estimate"
"""First word of the other command."""

_ESTIMATE_EPILOG = """
example:
  python -m worker estimate run.json > needs.json

The answer is one JSON object: arms (memory in bytes, operations) and machine (memory, operations per second).
Exit codes are those of python -m worker.
"""

_MAX_LAST_WORDS_BYTES = 4096
"""Of a container's termination message. Source: Kubernetes, MaxContainerTerminationMessageLength."""


def read_config(path: Path | None, environ: Mapping[str, str]) -> RunConfig | PrepareConfig:
    """Read the worker's document.

    Raises:
        ConfigError: There is none, or it is not one of the two forms.
    """
    if path is None and RUN_CONFIG_ENV not in environ:
        raise ConfigError(
            "The worker was told nothing.", remedy=f"Name a file, or put the document into {RUN_CONFIG_ENV}."
        )
    try:
        content = path.read_bytes() if path else environ[RUN_CONFIG_ENV]
        config: RunConfig | PrepareConfig = TypeAdapter(WorkerConfig).validate_json(content)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the document"
        raise ConfigError(
            f"The worker's document is not valid: {field}: {first['msg']}.",
            remedy="Flow side and worker must be of one version; let the flow write the document.",
        ) from error
    return config


def run(config: RunConfig) -> None:
    """Train one arm, and record how the attempt ended whatever happens.

    Seeds that an earlier attempt finished are left as they are.

    Raises:
        ComparisonBusyError: Another worker trains this arm.
    """
    store = ResultsStore(config.execution.results)
    with only_worker_of(config):
        missing = tuple(seed for seed in config.seeds if not is_done(store, config, seed))
        log.info("seeds", missing=missing, done=[seed for seed in config.seeds if seed not in missing])
        if missing:
            _run_attempt(config.model_copy(update={"seeds": missing}), store)


def _run_attempt(config: RunConfig, store: ResultsStore) -> None:
    from worker.exporter import serve_metrics  # noqa: PLC0415 - not needed to prepare
    from worker.monitor import Monitor  # noqa: PLC0415
    from worker.recorder import RunRecorder  # noqa: PLC0415

    monitor = Monitor(config)
    recorders: dict[int, RunRecorder] = {}
    failure: Failure | None = None
    try:
        for seed in config.seeds:
            recorders[seed] = RunRecorder(store, config, seed)
        if config.execution.metrics_port is not None:
            port = serve_metrics(monitor, config.execution.metrics_host, config.execution.metrics_port)
            log.info("serving", host=config.execution.metrics_host, port=port)
        with monitor.during("importing"):
            from worker.train import ArmTraining  # noqa: PLC0415 - seconds: torch, transformers, accelerate
        ArmTraining(config, monitor, recorders, store).train()
    except BaseException as error:
        failure = describe_failure(error)
        raise
    finally:
        for recorder in recorders.values():
            try:
                recorder.end_attempt(monitor.seconds_by_phase, failure)
            except StoreError as error:
                # The store is away or full. What the worker ends with is more important than its own note of it.
                log.error("attempt not recorded", error=str(error))


def describe_failure(error: BaseException) -> Failure:
    """Say why a worker ends, with the exit code that stands for it: that it was told to comes before all else."""
    if isinstance(error, Terminated) or stopping_signal():
        name = str(error) if isinstance(error, Terminated) else stopping_signal()
        return Failure(
            exit_code=ExitCode.TERMINATED, problem=f"The worker was stopped ({name}).", remedy="Start it again."
        )
    if isinstance(error, FreezeBenchError):
        return Failure(exit_code=error.exit_code, problem=error.problem, remedy=error.remedy)
    return Failure(
        exit_code=ExitCode.ERROR,
        problem=f"{type(error).__name__}: {error}",
        remedy="Unexpected: the worker's log has the traceback. It may be retried.",
    )


def encode_last_words(failure: Failure) -> bytes:
    """Return a worker's last words as JSON that fits a container's termination message.

    Of a longer message the kubelet keeps the end, which is no JSON any more. The longer of the two texts is shortened.
    """
    while len(encoded := failure.model_dump_json().encode()) > _MAX_LAST_WORDS_BYTES:
        name = max(("problem", "remedy"), key=lambda field: len(getattr(failure, field)))
        text = getattr(failure, name)
        failure = failure.model_copy(update={name: text[: len(text) * 9 // 10].removesuffix("…") + "…"})
    return encoded


def _write_last_words(failure: Failure) -> None:
    path = os.environ.get(TERMINATION_LOG_ENV)
    if path:
        try:
            Path(path).write_bytes(encode_last_words(failure))
        except OSError as error:
            log.warning("no termination log", path=path, error=str(error))


def act(config: RunConfig | PrepareConfig) -> None:
    """Do what a document says."""
    log.info("started", kind=config.kind, pid=os.getpid())
    if isinstance(config, PrepareConfig):
        prepare(config)
    else:
        run(config)
    log.info("done")


def estimate(config: RunConfig | PrepareConfig, output: TextIO) -> None:
    """Print what the arm of a run config would need.

    Raises:
        ConfigError: The document is of another kind.
    """
    if isinstance(config, PrepareConfig):
        raise ConfigError(
            "The document prepares something; only what an arm needs can be estimated.",
            remedy="Give the document of an arm, of kind run.",
        )
    from worker.estimate import estimate_run  # noqa: PLC0415 - torch and transformers: seconds

    output.write(f"{estimate_run(config).model_dump_json(indent=2)}\n")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line and the document say, and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] != [_ESTIMATE]:
        what = "Train one arm of a comparison, or prepare its data set or backbone."
        return _attempt(_parse(words, "python -m worker", what, _EPILOG), act)
    path = _parse(words[1:], f"python -m worker {_ESTIMATE}", "Say what an arm would need.", _ESTIMATE_EPILOG)
    # Events, and whatever a model's own code prints, go where they do not spoil the answer.
    answer = partial(estimate, output=sys.stdout)
    with redirect_stdout(sys.stderr):
        return _attempt(path, answer)


def _parse(words: list[str], program: str, what: str, epilog: str) -> Path | None:
    """Return the file that is named on the command line."""
    parser = argparse.ArgumentParser(
        prog=program, description=what, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", type=Path, help=f"JSON document; default: ${RUN_CONFIG_ENV}")
    path: Path | None = parser.parse_args(words).config
    return path


def _attempt(path: Path | None, do: Callable[[RunConfig | PrepareConfig], None]) -> int:
    """Read the document, do something with it, and return the exit code."""
    configure_events()
    try:
        end_on_signals()
        end_with_parent()
        do(read_config(path, os.environ))
    except (Exception, Terminated) as error:  # noqa: BLE001 - the one place that turns any error into an exit code
        failure = describe_failure(error)
        is_expected = isinstance(error, FreezeBenchError | Terminated)
        log.error("failed", **failure.model_dump(), exc_info=not is_expected)
        _write_last_words(failure)
        return failure.exit_code
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())

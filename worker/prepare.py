"""The prepare step of one process: fetch or make a data set or a backbone, and answer with what it is."""

from pathlib import Path, PurePosixPath

from worker.backbone import prepare_backbone
from worker.cache_files import remove_leftovers
from worker.contract.config import PrepareConfig, PreparedBackbone
from worker.contract.records import Record
from worker.contract.store import ResultsStore
from worker.data import prepare_data
from worker.events import log


def prepare(config: PrepareConfig) -> None:
    """Write a ``PreparedData`` or a ``PreparedBackbone`` to the results store, and estimates if they are asked for.

    With ``only_look`` nothing is fetched or made, and nothing is written for what is not in the cache. What arms will
    need is estimated all the same: of a hub id from its config.json, which is not kept.

    Raises:
        FreezeBenchError: As its exit code says.
    """
    cache = Path(config.execution.cache)
    if not config.only_look:
        remove_leftovers(cache)
    store = ResultsStore(config.execution.results)
    if config.backbone is None:
        answer: Record | None = prepare_data(config.data, cache, only_look=config.only_look)
    else:
        answer = backbone = _prepare_backbone(config, cache)
        if config.estimate is not None:
            _write_estimates(config, backbone, store)
    source = config.backbone.source if config.backbone else config.data.source
    log.info("prepared" if answer else "not in the cache", source=source)
    if answer is not None:
        store.write_record(PurePosixPath(config.answer), answer)


def _prepare_backbone(config: PrepareConfig, cache: Path) -> PreparedBackbone | None:
    if config.backbone is None or config.prepared_data is None:
        return None  # its data set is not there, and so neither is a backbone that was made of it
    return prepare_backbone(
        config.backbone,
        config.prepared_data,
        cache,
        num_threads=config.execution.num_threads,
        only_look=config.only_look,
    )


def _write_estimates(config: PrepareConfig, backbone: PreparedBackbone | None, store: ResultsStore) -> None:
    """Put the estimates down before the backbone: whoever finds the one finds the other."""
    from worker.estimate import answer_estimates  # noqa: PLC0415 - torch and transformers: seconds

    estimates = answer_estimates(config, backbone)
    if estimates is not None:
        log.info("estimated", problem=estimates.problem)
        store.write_record(PurePosixPath(config.estimates_answer), estimates)

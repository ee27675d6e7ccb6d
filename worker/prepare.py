"""The prepare step of one process: fetch or make a data set or a backbone, and answer with what it is."""

from pathlib import Path, PurePosixPath

from worker.backbone import prepare_backbone
from worker.cache_files import remove_leftovers
from worker.contract.config import PrepareConfig
from worker.contract.store import ResultsStore
from worker.data import prepare_data
from worker.events import log


def prepare(config: PrepareConfig) -> None:
    """Write a ``PreparedData`` or a ``PreparedBackbone`` to the results store.

    With ``only_look`` nothing is fetched or made, and nothing is written for what is not in the cache.

    Raises:
        FreezeBenchError: As its exit code says.
    """
    cache = Path(config.execution.cache)
    if not config.only_look:
        remove_leftovers(cache)
    answer = (
        prepare_data(config.data, cache, only_look=config.only_look)
        if config.backbone is None or config.prepared_data is None
        else prepare_backbone(
            config.backbone,
            config.prepared_data,
            cache,
            num_threads=config.execution.num_threads,
            only_look=config.only_look,
        )
    )
    source = config.backbone.source if config.backbone else config.data.source
    log.info("prepared" if answer else "not in the cache", source=source)
    if answer is not None:
        ResultsStore(config.execution.results).write_record(PurePosixPath(config.answer), answer)

"""The prepare step: one answer in the results store, or none."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from worker.contract.arms import BackboneSpec
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, PreparedData
from worker.contract.plan import DataSpec
from worker.contract.store import ResultsStore
from worker.prepare import prepare


@pytest.fixture
def make_prepare_config(tmp_path: Path, cache: Path, data_spec: DataSpec) -> Callable[..., PrepareConfig]:
    def make(*, cache: Path = cache, **values: Any) -> PrepareConfig:  # noqa: ANN401 - fields of PrepareConfig
        execution = Execution(results=str(tmp_path / "results"), cache=str(cache), num_threads=1)
        return PrepareConfig(
            comparison="trial", name="p", answer="trial/p.json", data=data_spec, execution=execution, **values
        )

    return make


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(str(tmp_path / "results"))


def test_the_answer_for_a_data_set_is_the_data_set_pinned(
    make_prepare_config: Callable[..., PrepareConfig], store: ResultsStore, data: PreparedData
) -> None:
    prepare(make_prepare_config())

    assert store.read_record(PurePosixPath("trial/p.json"), PreparedData) == data


def test_the_answer_for_a_backbone_is_the_backbone_pinned(
    make_prepare_config: Callable[..., PrepareConfig],
    store: ResultsStore,
    data: PreparedData,
    backbone: PreparedBackbone,
) -> None:
    prepare(make_prepare_config(backbone=BackboneSpec(source=backbone.source), prepared_data=data))

    assert store.read_record(PurePosixPath("trial/p.json"), PreparedBackbone) == backbone


@pytest.mark.parametrize("source", [None, "tiny:qwen3"])
def test_only_looking_writes_no_answer_for_what_is_not_there(
    make_prepare_config: Callable[..., PrepareConfig],
    store: ResultsStore,
    data: PreparedData,
    tmp_path: Path,
    source: str | None,
) -> None:
    backbone = {"backbone": BackboneSpec(source=source), "prepared_data": data} if source else {}
    prepare(make_prepare_config(cache=tmp_path / "empty", only_look=True, **backbone))

    assert store.read(PurePosixPath("trial/p.json")) is None
    assert not (tmp_path / "empty").exists()

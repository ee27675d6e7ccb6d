"""A worker's document: what the flow writes is what the worker reads, and anything else is one error of code 40."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutations import FEW, MANY, examples, json_values, mutated_bytes, mutated_document
from worker.__main__ import read_config
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import (
    Execution,
    PrepareConfig,
    PreparedBackbone,
    PreparedData,
    RunConfig,
    SplitSizes,
    arm_training,
)
from worker.contract.errors import ConfigError, ExitCode
from worker.contract.estimate import EstimateRequest
from worker.contract.plan import DataSpec, TrainingSettings

few_or_many = pytest.mark.parametrize("number", [FEW, pytest.param(MANY, marks=pytest.mark.full)])

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
rates = st.floats(1e-12, 10, allow_subnormal=False)
executions = st.builds(
    Execution,
    results=words,
    cache=words,
    device=st.sampled_from(["auto", "cpu", "cuda"]),
    num_threads=st.integers(0, 512),
    metrics_port=st.none() | st.integers(0, 65535),
    flush_seconds=st.floats(0, 1e9),
)
prepared_data = st.builds(
    PreparedData,
    source=words,
    revision=st.none() | words,
    digest=digests,
    classes=st.lists(words, min_size=2, max_size=4).map(tuple),
    num_examples=st.builds(SplitSizes, **dict.fromkeys(["train", "validation", "test"], st.integers(1, 10**9))),
    num_train_available=st.integers(1, 10**9),
    num_duplicates_dropped=st.integers(0),
    num_conflicts_dropped=st.integers(0),
    majority_accuracy=st.floats(0, 1),
)


@st.composite
def run_configs(draw: st.DrawFn) -> RunConfig:
    mode = draw(st.sampled_from(Mode))
    spec = BackboneSpec(source=draw(st.sampled_from(["tiny:llama", "acme/base", "/a folder/of é"])))
    steps = draw(st.integers(1, 100_000))
    training = TrainingSettings(
        steps=steps,
        eval_every=draw(st.integers(1, steps)),
        warmup_steps=draw(st.integers(0, steps)),
        head_lr=tuple(draw(st.lists(rates, min_size=1, max_size=3))),
        backbone_lr=tuple(draw(st.lists(rates, min_size=1, max_size=3))),
    )
    return RunConfig(
        comparison=draw(st.text("abc-9", min_size=1, max_size=40)),
        arm=Arm(label=f"a{draw(words)}", backbone=spec, mode=mode),
        seeds=tuple(draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4, unique=True))),
        data=draw(prepared_data),
        backbone=PreparedBackbone(kind=spec.kind, source=spec.source, revision=draw(words), model_type=draw(words)),
        training=arm_training(training, mode),
        execution=draw(executions),
    )


prepare_configs = st.builds(
    PrepareConfig,
    comparison=st.text("abc-9", min_size=1, max_size=40),
    name=st.text("abc-9", min_size=1),
    answer=words,
    data=st.just(DataSpec(source="acme/news")),
    backbone=st.just(BackboneSpec(source="acme/base")),
    prepared_data=prepared_data,
    only_look=st.booleans(),
    estimate=st.none() | st.just(EstimateRequest(modes=tuple(Mode), seeds=(0, 3), training=TrainingSettings())),
    execution=executions,
)
configs = st.one_of(run_configs(), prepare_configs)


def read(path: Path) -> RunConfig | PrepareConfig | None:
    """Read a document; None is an error that says what is wrong and what to do, and ends a worker with code 40."""
    try:
        return read_config(path, {})
    except ConfigError as error:
        if not error.problem or not error.remedy or error.exit_code != ExitCode.CONFIG:
            pytest.fail(f"an error without words: {error!r}")
        return None


@few_or_many
def test_a_document_is_read_as_it_was_written(tmp_path: Path, number: int) -> None:
    @given(configs)
    @examples(number)
    def check(config: RunConfig | PrepareConfig) -> None:
        document = config.model_dump_json()
        (tmp_path / "config.json").write_text(document, "utf-8")

        again = read_config(tmp_path / "config.json", {})

        assert again == config
        assert again.model_dump_json() == document
        if isinstance(config, RunConfig) and isinstance(again, RunConfig):
            assert [again.identity(seed).address for seed in again.seeds] == [
                config.identity(seed).address for seed in config.seeds
            ]

    check()


def changed_documents(config: RunConfig | PrepareConfig) -> st.SearchStrategy[bytes]:
    document: dict[str, Any] = json.loads(config.model_dump_json())
    values = mutated_document(document, json_values(st.none()))
    return mutated_bytes(config.model_dump_json().encode()) | values.map(lambda value: json.dumps(value).encode())


@few_or_many
def test_any_other_document_is_a_config_or_an_error_that_explains_it(tmp_path: Path, number: int) -> None:
    @given(st.one_of(configs.flatmap(changed_documents), st.binary(), json_values().map(json.dumps).map(str.encode)))
    @examples(number)
    def check(content: bytes) -> None:
        (tmp_path / "config.json").write_bytes(content)
        read(tmp_path / "config.json")

    check()


AWKWARD: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "lists without end": lambda path: path.write_bytes(b"[" * 100_000),
    "a number of many digits": lambda path: path.write_bytes(b'{"kind": "run", "seeds": [' + b"9" * 5_000 + b"]}"),
    "half a character": lambda path: path.write_bytes(b'{"kind": "run", "comparison": "\\ud800"}'),
    "UTF-16": lambda path: path.write_bytes('{"kind": "run"}'.encode("utf-16")),
}


@pytest.mark.parametrize("case", AWKWARD)
def test_an_awkward_document_is_an_error_that_explains_it(tmp_path: Path, case: str) -> None:
    AWKWARD[case](tmp_path / "config.json")

    assert read(tmp_path / "config.json") is None

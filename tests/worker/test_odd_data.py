"""Arms on data that is unlike what one trains on: a handful of texts, one of a million characters, one full of NULs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.contract.arms import Mode
from worker.contract.config import RunConfig
from worker.contract.plan import DataSpec
from worker.contract.store import RunRecords
from worker.data import prepare_data

TEXTS = ["long text " * 100_000, "\0" * 50, "\N{GRINNING FACE}" * 20, "مرحبا", "one\ntwo", *map(str, range(8))]


@pytest.mark.parametrize("mode", list(Mode))
def test_an_arm_trains_on_fewer_texts_than_a_batch_whatever_they_hold(
    tmp_path: Path,
    cache: Path,
    make_config: Callable[..., RunConfig],
    train: Callable[[RunConfig], RunRecords],
    mode: Mode,
) -> None:
    source = tmp_path / "odd.jsonl"
    # Held-out splits of their own keep the long text in train, where it meets every part of an arm.
    rows = [{"text": text, "label": number % 2, "fold": "train"} for number, text in enumerate(TEXTS)]
    rows += [{"text": f"{fold} {number}", "label": 1, "fold": fold} for fold in ("dev", "test") for number in range(3)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    data = prepare_data(DataSpec(source=str(source), split_column="fold"), cache)
    assert data is not None
    assert (data.num_examples.train, data.absent_from_test) == (len(TEXTS), ("0",))

    config = make_config(mode, batch_size=32).model_copy(update={"data": data})
    result = train(config).read_result()

    assert result is not None
    assert result.num_truncated_texts >= 1
    assert {score.accuracy for score in (result.test_best, result.test_last)} <= {0, 1 / 3, 2 / 3, 1}

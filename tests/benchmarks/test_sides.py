"""Both sides do the same work: their curves are equal."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.claim import largest_difference
from benchmarks.gemm import forward_flops
from benchmarks.known_sides import frozen_arm, live_arm, torch_loop, trainer
from benchmarks.measurement import Bench, Measurement, Side, side
from benchmarks.memory import PeakMemory
from benchmarks.sides.body_shape import body_without_memory, frozen_bytes
from benchmarks.work_files import run_config
from benchmarks.works import Work
from small_work import SMALL_SHAPE, SMALL_WORK, prepared_bench
from worker.body import load_body
from worker.contract.arms import Mode

MEBIBYTE = 2**20

Measure = Callable[[Side], Measurement]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return prepared_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def measure(bench: Bench) -> Measure:
    """Measure a side in this process, once."""
    found: dict[Side, Measurement] = {}

    def measure(one: Side) -> Measurement:
        if one not in found:
            found[one] = one.measure(bench)
        return found[one]

    return measure


@pytest.mark.parametrize("peer", [trainer, torch_loop])
@pytest.mark.parametrize(("arm", "mode"), [(frozen_arm, Mode.FROZEN), (live_arm, Mode.LIVE)])
def test_a_peer_has_the_products_curve(
    measure: Measure, arm: Callable[[Work], Side], mode: Mode, peer: Callable[[Work, Mode], Side]
) -> None:
    ours, theirs = measure(arm(SMALL_WORK)), measure(peer(SMALL_WORK, mode))

    difference = largest_difference(ours.curve, theirs.curve)

    assert [point.step for point in ours.curve] == [0, 2, 4, 6]
    assert ours.curve[-1].loss < ours.curve[0].loss
    assert difference.loss < 1e-5
    assert difference.accuracy == 0


def test_the_first_seed_and_candidate_of_many_have_the_curve_of_one(measure: Measure) -> None:
    one, many = frozen_arm(SMALL_WORK), frozen_arm(SMALL_WORK, num_seeds=2, num_candidates=3)

    assert largest_difference(measure(one).curve, measure(many).curve).loss < 1e-6


def test_a_frozen_arm_is_measured_with_and_without_cached_features(measure: Measure) -> None:
    values = measure(frozen_arm(SMALL_WORK)).values

    assert 0 < values["again_seconds"] < values["seconds"]


def test_the_clock_of_an_arm_leaves_loading_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that only loading moves, training takes no time."""
    now = [0.0]

    def load_slowly(*arguments: Any) -> torch.nn.Module:  # noqa: ANN401 - passed on
        now[0] += 100
        return load_body(*arguments)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("worker.body.load_body", load_slowly)
    monkeypatch.setattr("worker.arm_data.load_body", load_slowly)

    assert frozen_arm(SMALL_WORK).measure(bench).values["seconds"] == 0
    assert now[0] == 100


def test_the_steps_of_a_live_arm_take_less_than_the_arm(measure: Measure) -> None:
    values = measure(live_arm(SMALL_WORK)).values

    assert 0 < values["step_seconds"] < values["seconds"]


@pytest.mark.parametrize("lengths", [[1], [7, 7], [3, 16]])
def test_flops_are_those_that_torch_counts(bench: Bench, lengths: list[int]) -> None:
    config = run_config(bench, SMALL_WORK, Mode.FROZEN, bench.cache)
    body: Any = load_body(bench.cache, config.backbone, max_tokens=16)
    body.set_attn_implementation("eager")  # of the CPU's fused attention torch counts nothing
    counter = FlopCounterMode(display=False)

    with counter, torch.inference_mode():
        for length in lengths:
            body(input_ids=torch.zeros((1, length), dtype=torch.int64))

    assert forward_flops(body, lengths) == counter.get_total_flops()


def test_the_bound_of_a_frozen_arm_counts_the_real_tokens_of_every_split(bench: Bench) -> None:
    texts = re.split(r"\n", next((bench.cache / "texts").glob("*.csv")).read_text("utf-8").strip())[1:]
    lengths = [min(16, len(text.split(",")[0].split())) for text in texts]

    notes = side("benchmarks.sides.bounds:bound_frozen", work=SMALL_WORK).measure(bench).notes

    assert notes["tokens"] == sum(lengths)
    config = run_config(bench, SMALL_WORK, Mode.FROZEN, bench.cache)
    assert notes["flops"] == forward_flops(body_without_memory(bench.cache, config.backbone), lengths)


def test_the_forward_pass_of_a_work_is_measured_beside_matrix_products(bench: Bench) -> None:
    values = side("benchmarks.sides.bounds:forward_rate", work=SMALL_WORK).measure(bench).values

    assert 0 < values["forward_rate"] < values["gemm_rate"]


def test_the_bytes_of_a_frozen_arm_are_weights_one_batch_and_features(bench: Bench) -> None:
    config = run_config(bench, SMALL_WORK, Mode.FROZEN, bench.cache)
    body, shape = load_body(bench.cache, config.backbone, max_tokens=16), SMALL_SHAPE
    weights = sum(parameter.numel() for parameter in body.parameters())
    batch = config.execution.tokens_per_batch * (2 * shape.hidden_size + 3 * shape.mlp_size)
    features = (60 + 24 + 2) * shape.hidden_size

    without_memory = body_without_memory(bench.cache, config.backbone)

    assert frozen_bytes(without_memory, config) == 4 * (weights + batch + features)


def test_a_peak_of_memory_is_seen_after_it_is_over() -> None:
    memory = PeakMemory("cpu")
    held = torch.ones(64 * MEBIBYTE // 4)
    del held

    assert 60 * MEBIBYTE < memory.read_bytes() < 72 * MEBIBYTE  # the kernel counts pages in batches


def test_an_older_peak_of_memory_does_not_count() -> None:
    held = torch.ones(64 * MEBIBYTE // 4)
    del held

    assert PeakMemory("cpu").read_bytes() < 32 * MEBIBYTE

"""What an arm needs, against what a device has: in words, with numbers and with what to do."""

import re

import pytest

from estimates import GIB, make_estimate
from worker.contract.arms import Mode
from worker.contract.errors import ExitCode, OutOfDeviceMemoryError
from worker.contract.estimate import BackboneEstimates, check_memory, format_bytes
from worker.contract.plan import TrainingSettings

TRAINING = TrainingSettings()


def test_what_fits_to_the_last_byte_is_let_through() -> None:
    check_memory("Live A", make_estimate(), TRAINING, 26 * GIB)


def test_one_byte_less_is_refused_with_every_part_and_both_sums() -> None:
    with pytest.raises(OutOfDeviceMemoryError) as caught:
        check_memory("Live A", make_estimate(), TRAINING, 26 * GIB - 1)

    assert caught.value.problem == (
        "Live A needs 26.0 GiB of memory (weights 4.00 GiB, gradients 4.00 GiB, AdamW 8.00 GiB, activations 10.0 GiB), "
        "and a GPU here has 26.0 GiB."
    )
    assert caught.value.exit_code == ExitCode.OUT_OF_DEVICE_MEMORY
    assert "freeze-bench compare --no-memory-check" in caught.value.remedy


def test_an_upper_bound_says_that_it_is_one() -> None:
    bound = make_estimate().model_copy(update={"lengths": "max_tokens"})

    with pytest.raises(OutOfDeviceMemoryError, match=r"Live A needs up to 26\.0 GiB"):
        check_memory("Live A", bound, TRAINING, GIB)


@pytest.mark.parametrize(
    ("mode", "memory", "limit", "remedy"),
    [
        (Mode.LIVE, {}, 20, r"^Lower training\.batch_size \(now 32\) or training\.max_tokens \(now 128\), or take a "),
        (Mode.LIVE, {}, 16, "^No batch is small enough: take a device with more than 26.0 GiB, a smaller backbone, or"),
        (Mode.FROZEN, {"peak": 14}, 12, r"^Lower training\.max_tokens, or take "),
        (Mode.FROZEN, {"peak": 30, "features": 29}, 12, "^Lower the numbers of examples, or take "),
        (Mode.FROZEN, {"peak": 14}, 4, "^Its weights alone are too many: take "),
    ],
)
def test_the_remedy_is_one_that_can_help(mode: Mode, memory: dict[str, int], limit: int, remedy: str) -> None:
    with pytest.raises(OutOfDeviceMemoryError) as caught:
        check_memory("A", make_estimate(mode, **memory), TRAINING, limit * GIB)

    assert re.search(remedy, caught.value.remedy), caught.value.remedy


def test_time_is_all_operations_at_one_rate() -> None:
    assert make_estimate().seconds(2e12) == 5.0


def test_an_estimate_is_found_by_its_mode() -> None:
    estimates = BackboneEstimates(arms=(make_estimate(Mode.LIVE),))

    assert estimates.of(Mode.LIVE) == make_estimate(Mode.LIVE)
    assert estimates.of(Mode.FROZEN) is None


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (512, "512 bytes"),
        (2048, "2.00 KiB"),
        (45 * 2**20, "45.0 MiB"),
        (int(2.3 * GIB), "2.30 GiB"),
        (200 * GIB, "200 GiB"),
        (999 * 2**20, "999 MiB"),
        (1010 * 2**20, "0.986 GiB"),
        (1999 * GIB, "1.95 TiB"),
    ],
)
def test_bytes_are_told_with_three_digits(num_bytes: int, text: str) -> None:
    assert format_bytes(num_bytes) == text

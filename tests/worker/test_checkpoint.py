"""Checkpoint files: whole or passed over, the last two kept, on disks that are full as well."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from small_disk import small_disk
from worker.checkpoint import ArmCheckpoints, CheckpointFolder
from worker.checkpoint_files import read_whole, write_whole
from worker.contract.arms import Mode
from worker.contract.config import RunConfig

CPU = torch.device("cpu")
MEBIBYTE = 2**20


def a_state(number: int, num_values: int = 100) -> dict[str, object]:
    generator = torch.Generator().manual_seed(number)
    return {"number": number, "nested": [{"weights": torch.rand(num_values, generator=generator)}, float("inf"), None]}


def number_of(folder: CheckpointFolder) -> object:
    state = folder.read_newest()
    return state and state["number"]


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointFolder:
    return CheckpointFolder(tmp_path, interval_seconds=0)


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change_one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fill_with_something_else(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def test_what_is_read_is_what_was_written_bit_by_bit(tmp_path: Path) -> None:
    state = read_whole(write_whole(tmp_path, "1", a_state(1)))

    assert state is not None
    assert torch.equal(state["nested"][0]["weights"], a_state(1)["nested"][0]["weights"])  # type: ignore[index]
    assert (state["number"], state["nested"][1:]) == (1, [float("inf"), None])


def test_the_name_of_a_file_ends_in_its_own_sha256(tmp_path: Path) -> None:
    path = write_whole(tmp_path, "1", a_state(1))

    assert path.name == f"1.{hashlib.sha256(path.read_bytes()).hexdigest()}.pt"
    assert files_in(tmp_path) == [path]


def test_the_last_two_are_kept_and_the_newest_is_read(checkpoints: CheckpointFolder, tmp_path: Path) -> None:
    assert checkpoints.read_newest() is None
    for step in (8, 9, 10, 110):
        checkpoints.write(step, a_state(step))

    assert [int(path.name.split(".")[0]) for path in files_in(tmp_path)] == [10, 110]
    assert number_of(checkpoints) == 110


@pytest.mark.parametrize("tear", [cut, change_one_byte, empty, fill_with_something_else])
def test_a_torn_file_is_passed_over_for_the_one_before(
    checkpoints: CheckpointFolder, tmp_path: Path, tear: Callable[[Path], None]
) -> None:
    for step in (1, 2):
        checkpoints.write(step, a_state(step))
    tear(files_in(tmp_path)[-1])
    assert number_of(checkpoints) == 1
    tear(files_in(tmp_path)[0])

    assert checkpoints.read_newest() is None


def test_torn_files_of_later_steps_take_no_place_from_new_ones(checkpoints: CheckpointFolder, tmp_path: Path) -> None:
    for step in (1000, 1010):
        checkpoints.write(step, a_state(step))
    for path in files_in(tmp_path):
        cut(path)
    assert checkpoints.read_newest() is None
    for step in (10, 20):
        checkpoints.write(step, a_state(step))

    assert [int(path.name.split(".")[0]) for path in files_in(tmp_path)] == [10, 20]
    assert number_of(checkpoints) == 20


def test_what_a_killed_writer_left_is_never_read_and_goes(checkpoints: CheckpointFolder, tmp_path: Path) -> None:
    (tmp_path / ".000000007.tmp").write_bytes(b"half of it")
    (tmp_path / "notes.pt").write_bytes(b"not ours")
    (tmp_path / f"000000009.{'0' * 64}.pt").mkdir()
    assert checkpoints.read_newest() is None
    checkpoints.write(3, a_state(3))

    assert number_of(checkpoints) == 3
    assert not (tmp_path / ".000000007.tmp").exists()


def test_a_full_disk_costs_the_new_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    with small_disk(tmp_path, MEBIBYTE):
        checkpoints = CheckpointFolder(tmp_path, interval_seconds=0)
        assert checkpoints.write(1, a_state(1), moment="first")
        assert not checkpoints.write(2, a_state(2, num_values=MEBIBYTE), moment="second")
        assert checkpoints.newest_moment == "first"
        assert number_of(checkpoints) == 1
        assert len(files_in(tmp_path)) == 1
        checkpoints.write(3, a_state(3))

        assert number_of(checkpoints) == 3


def test_a_disk_with_room_for_two_keeps_the_newest(tmp_path: Path) -> None:
    with small_disk(tmp_path, MEBIBYTE):
        checkpoints = CheckpointFolder(tmp_path, interval_seconds=0)
        for step in range(1, 6):
            assert checkpoints.write(step, a_state(step, num_values=100_000))  # 400 kB each

        assert number_of(checkpoints) == 5


def test_pieces_of_work_are_read_in_their_order_and_all_of_them(checkpoints: CheckpointFolder, tmp_path: Path) -> None:
    for first, end in ((0, 9), (9, 10), (10, 200)):
        checkpoints.append(first, end, a_state(first))
    assert [piece["number"] for piece in checkpoints.read_pieces()] == [0, 9, 10]
    cut(files_in(tmp_path)[1])

    assert [piece["number"] for piece in checkpoints.read_pieces()] == [0, 10]


def test_checkpoints_are_as_far_apart_as_was_asked(tmp_path: Path) -> None:
    often, seldom = CheckpointFolder(tmp_path, 0), CheckpointFolder(tmp_path, 3600)
    seldom.write(1, a_state(1))

    assert often.is_due()
    assert not seldom.is_due()


def test_where_writing_takes_long_checkpoints_are_further_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 100.0, 110.0, 200.0, 309.0, 310.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    checkpoints = CheckpointFolder(tmp_path, interval_seconds=5)
    checkpoints.write(1, a_state(1))  # from 100 to 110: a twentieth of 200 seconds

    assert [checkpoints.is_due() for _ in range(3)] == [False, False, True]


def test_the_time_to_write_is_measured_on_the_disk_itself(checkpoints: CheckpointFolder, tmp_path: Path) -> None:
    assert 0 < checkpoints.measure_writing(10 * MEBIBYTE) < 60
    assert files_in(tmp_path) == []


def test_other_settings_of_an_arm_start_anew_and_only_the_newest_others_stay(
    make_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    def open_checkpoints(**changes: object) -> CheckpointFolder:
        execution = {"cache": str(tmp_path), **changes}
        return ArmCheckpoints(make_config(Mode.FROZEN, execution=execution), CPU).of("training")

    open_checkpoints().write(1, a_state(1))
    assert number_of(open_checkpoints()) == 1
    others: list[dict[str, object]] = [{"results": "elsewhere"}, {"tokens_per_batch": 7}, {"fresh_since": 1.0}]
    for number, changes in enumerate(others, start=2):
        assert number_of(open_checkpoints(**changes)) is None
        open_checkpoints(**changes).write(number, a_state(number))

    assert number_of(open_checkpoints(fresh_since=1.0)) == 4
    assert number_of(open_checkpoints(tokens_per_batch=7)) == 3
    assert number_of(open_checkpoints()) is None
    assert number_of(open_checkpoints(results="elsewhere")) == 2


def test_an_arm_that_is_done_leaves_no_checkpoint(make_config: Callable[..., RunConfig], tmp_path: Path) -> None:
    arm = ArmCheckpoints(make_config(Mode.FROZEN, execution={"cache": str(tmp_path)}), CPU)
    arm.of("training").write(1, a_state(1))
    arm.delete()

    assert files_in(tmp_path / "checkpoints") == []

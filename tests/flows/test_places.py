"""How a machine is divided among workers."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.executors.places import MAX_CPU_WORKERS, Place, available_cores, divide_machine, largest_gpu_memory


@pytest.fixture
def fake_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi that lists three GPUs and knows no other question; what it was asked is in its folder."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/asked\n'
        '[ "$*" = "--query-gpu=index --format=csv,noheader" ] || exit 2\n'
        "printf '0\\n1\\n2\\n'\n",
        "utf-8",
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tool


@pytest.fixture
def without_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def one_core() -> Iterator[None]:
    """This thread may use one core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("fake_driver")
def test_each_gpu_that_the_driver_lists_is_a_place() -> None:
    assert [place.gpu for place in divide_machine(None, may_use_gpus=True)] == ["0", "1", "2"]


@pytest.mark.usefixtures("fake_driver")
def test_more_workers_than_gpus_share_them_evenly() -> None:
    assert [place.gpu for place in divide_machine(5, may_use_gpus=True)] == ["0", "1", "2", "0", "1"]


@pytest.mark.usefixtures("fake_driver")
def test_fewer_workers_than_gpus_leave_some_unused() -> None:
    assert [place.gpu for place in divide_machine(2, may_use_gpus=True)] == ["0", "1"]


def test_a_worker_on_the_cpu_gets_no_gpu_and_the_driver_is_not_asked(fake_driver: Path) -> None:
    places = divide_machine(None, may_use_gpus=False)

    assert {place.gpu for place in places} == {None}
    assert not (fake_driver.parent / "asked").exists()


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("2,0", ["2", "0"]), ("GPU-8f6c, GPU-11aa", ["GPU-8f6c", "GPU-11aa"]), ("1", ["1"])],
)
def test_the_users_choice_of_gpus_counts(
    fake_driver: Path, monkeypatch: pytest.MonkeyPatch, visible: str, gpus: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert [place.gpu for place in divide_machine(None, may_use_gpus=True)] == gpus
    assert not (fake_driver.parent / "asked").exists()


@pytest.mark.usefixtures("fake_driver")
def test_a_user_who_hides_every_gpu_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    assert {place.gpu for place in divide_machine(None, may_use_gpus=True)} == {None}


def test_a_driver_that_fails_counts_as_none(fake_driver: Path) -> None:
    fake_driver.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n", "utf-8")

    assert {place.gpu for place in divide_machine(None, may_use_gpus=True)} == {None}


@pytest.mark.usefixtures("without_gpus")
def test_without_gpus_there_are_two_places_at_most() -> None:
    places = divide_machine(None, may_use_gpus=True)

    assert len(places) == min(MAX_CPU_WORKERS, available_cores())
    assert sum(place.num_threads for place in places) <= available_cores()


@pytest.mark.usefixtures("without_gpus", "one_core")
def test_cores_are_those_that_this_process_may_use() -> None:
    assert available_cores() == 1
    assert divide_machine(None, may_use_gpus=True) == [Place(num_threads=1)]


@pytest.mark.usefixtures("without_gpus", "one_core")
def test_every_worker_has_a_thread_even_where_they_are_more_than_cores() -> None:
    assert divide_machine(3, may_use_gpus=True) == [Place(num_threads=1)] * 3


@pytest.mark.parametrize(
    ("limit", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("garbage", None)]
)
def test_the_containers_limit_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, cores: int | None
) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(f"{limit}\n", "ascii")
    monkeypatch.setattr("flows.executors.places._CGROUP_V2", path)

    assert available_cores() == (cores or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("quota", "cores"), [("150000", 1), ("-1", None)])
def test_the_older_form_of_the_containers_limit_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int | None
) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text(f"{quota}\n", "ascii")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n", "ascii")
    monkeypatch.setattr("flows.executors.places._CGROUP_V2", tmp_path / "absent")
    monkeypatch.setattr("flows.executors.places._CGROUP_V1", tmp_path)

    assert available_cores() == (cores or len(os.sched_getaffinity(0)))


@pytest.fixture
def tell_memory(fake_driver: Path) -> Callable[[str], None]:
    """Have nvidia-smi say how much memory the GPUs have."""

    def tell(words: str) -> None:
        fake_driver.write_text(
            "#!/bin/sh\n"
            '[ "$*" = "--query-gpu=memory.total --format=csv,noheader,nounits" ] || exit 2\n'
            f"printf '{words}'\n",
            "utf-8",
        )

    return tell


@pytest.mark.parametrize("gpu", ["0", "1", "GPU-8f6c"])
def test_memory_is_that_of_the_largest_gpu(tell_memory: Callable[[str], None], gpu: str) -> None:
    tell_memory("24576\\n81559\\n")

    assert largest_gpu_memory([Place(1, gpu)]) == 81559 * 2**20


@pytest.mark.parametrize(("words", "gpu"), [("24576\\n", None), ("24576\\n[N/A]\\n", "0"), ("", "0")])
def test_memory_is_not_known_without_gpus_or_where_the_driver_does_not_tell_all(
    tell_memory: Callable[[str], None], words: str, gpu: str | None
) -> None:
    tell_memory(words)

    assert largest_gpu_memory([Place(1, gpu)]) is None


@pytest.mark.usefixtures("without_gpus")
def test_without_a_driver_no_memory_is_known() -> None:
    assert largest_gpu_memory([Place(1, "0")]) is None

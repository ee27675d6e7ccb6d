"""Devices: the one that was asked for, or none."""

import pytest
import torch

from worker.contract.config import Execution
from worker.contract.errors import DeviceError
from worker.device import device_name, package_versions, take_device


def make_execution(device: str, num_threads: int = 0) -> Execution:
    return Execution.model_validate({"results": "out", "cache": "cache", "device": device, "num_threads": num_threads})


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no GPU")
def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu_instead() -> None:
    with pytest.raises(DeviceError, match="told to use a GPU and torch sees none"):
        take_device(make_execution("cuda"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no GPU")
def test_auto_is_the_cpu_where_there_is_no_gpu() -> None:
    assert take_device(make_execution("auto")).type == "cpu"


def test_the_cpu_is_the_cpu() -> None:
    assert take_device(make_execution("cpu")).type == "cpu"


def test_threads_are_as_many_as_were_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        take_device(make_execution("cpu", num_threads=3))
        assert torch.get_num_threads() == 3
        take_device(make_execution("cpu", num_threads=0))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_result_names_the_device_and_the_packages_that_made_it() -> None:
    assert device_name(torch.device("cpu")).startswith("cpu (")
    assert set(package_versions()) == {
        "accelerate",
        "freeze-bench",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
    }
    assert package_versions()["torch"] == str(torch.__version__)

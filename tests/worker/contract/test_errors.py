"""Exit codes and the error tree: what whoever started a worker builds on."""

import pytest

from worker.contract import errors
from worker.contract.errors import ExitCode, FreezeBenchError


def test_exit_codes_are_fixed() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "ERROR": 1,
        "CONFIG": 40,
        "DATA": 41,
        "BACKBONE": 42,
        "OUT_OF_DEVICE_MEMORY": 43,
        "NON_FINITE_LOSS": 44,
        "DEVICE": 45,
        "TERMINATED": 143,
    }


def test_what_fails_again_is_40_to_45() -> None:
    assert {code for code in ExitCode if code.is_permanent} == {40, 41, 42, 43, 44, 45}


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("ConfigError", 40),
        ("PlanConflictError", 40),
        ("DataError", 41),
        ("BackboneError", 42),
        ("OutOfDeviceMemoryError", 43),
        ("NonFiniteLossError", 44),
        ("DeviceError", 45),
        ("TrainingError", 1),
        ("ResultError", 1),
        ("ArmsFailedError", 1),
    ],
)
def test_an_error_says_problem_and_remedy_and_ends_with_its_code(name: str, exit_code: int) -> None:
    error = getattr(errors, name)("It broke.", remedy="Mend it.")

    assert isinstance(error, FreezeBenchError)
    assert (error.problem, error.remedy, str(error)) == ("It broke.", "Mend it.", "It broke. Mend it.")
    assert error.exit_code == exit_code


@pytest.mark.parametrize("may_pass", [True, False])
def test_a_store_error_says_whether_waiting_helps(*, may_pass: bool) -> None:
    error = errors.StoreError("It is away.", remedy="Wait.", may_pass=may_pass)

    assert (error.problem, error.remedy, error.exit_code) == ("It is away.", "Wait.", ExitCode.ERROR)
    assert error.may_pass == may_pass


def test_a_config_error_is_a_value_error() -> None:
    assert issubclass(errors.ConfigError, ValueError)

"""``python -m benchmarks``: measures in processes of their own, records, and says what came of it by its exit code."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.claim import NO_WORK, Case, Claim, Reading, Target, Tolerance, at_least
from benchmarks.claims import CLAIMS
from benchmarks.measurement import Side, side
from benchmarks.record import CaseResult, read_record

Bench = Callable[..., int]


def takes(seconds: float, loss: float = 0.5) -> Side:
    return side("small_sides:take", has_own_imports=True, seconds=seconds, loss=loss)


FAILS = side("small_sides:fail", has_own_imports=True)


def claim(name: str, ours: Side, theirs: Side, *, target: Target | None = None, obstacle: str | None = None) -> Claim:
    case = Case(
        title="nothing",
        work=NO_WORK,
        ours=Reading(ours),
        theirs=Reading(theirs),
        pairs=2,
        tolerance=Tolerance(loss=0.1, accuracy=0.1),
    )
    return Claim(
        name=name,
        sentence=f"It is {name}",
        quotient="theirs/ours",
        target=target or at_least(2),
        cases=(case,),
        find_obstacle=lambda: obstacle,
    )


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    return folder


@pytest.fixture
def bench(tmp_path: Path, docs: Path) -> Bench:
    def run(*claims: Claim, arguments: tuple[str, ...] = ()) -> int:
        return main([*arguments, "--cache", str(tmp_path / "cache")], claims, docs)

    return run


def recorded(docs: Path) -> tuple[CaseResult, ...]:
    return read_record(docs / "benchmarks.json").results


def test_a_target_that_is_reached_is_recorded(bench: Bench, docs: Path) -> None:
    assert bench(claim("quick", takes(1), takes(3))) == 0

    (result,) = recorded(docs)
    assert (result.claim, result.median, len(result.pairs)) == ("quick", 3, 2)
    assert "3x (3 to 3, 2 pairs) | yes" in (docs / "benchmarks.md").read_text("utf-8")


def test_a_target_that_is_missed_is_recorded_and_named(
    bench: Bench, docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(claim("slow", takes(1), takes(1.5)), claim("quick", takes(1), takes(3))) == 1

    assert [result.claim for result in recorded(docs)] == ["quick", "slow"]
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("MISSED  slow, nothing: 1.5x")]


def test_another_curve_is_a_target_missed(bench: Bench) -> None:
    assert bench(claim("wrong", takes(1, loss=0.5), takes(3, loss=0.7))) == 1


def test_a_side_that_fails_is_named_and_the_others_are_measured(
    bench: Bench, docs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert bench(claim("broken", FAILS, takes(1)), claim("quick", takes(1), takes(3))) == 1

    assert [result.claim for result in recorded(docs)] == ["quick"]
    printed = capfd.readouterr()
    assert "FAILED  small_sides.fail()" in printed.out
    assert "RuntimeError: this side fails" in printed.err


def test_what_a_side_prints_goes_into_its_log(bench: Bench, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bench(claim("quick", takes(1), takes(3)))

    assert "for its log" not in capfd.readouterr().out
    assert "for its log" in (tmp_path / "cache" / "last-side.log").read_text("utf-8")


def test_a_trial_records_nothing(bench: Bench, docs: Path) -> None:
    assert bench(claim("quick", takes(1), takes(3)), arguments=("--pairs", "1")) == 0

    assert list(docs.iterdir()) == []


def test_what_cannot_be_measured_here_is_said(bench: Bench, docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(claim("far", takes(1), takes(3), obstacle="no cluster")) == 0

    assert "far: not run, no cluster" in capsys.readouterr().out
    assert recorded(docs) == ()


def test_ctrl_c_leaves_what_was_measured_for_the_next_time(
    bench: Bench, docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = claim("quick", takes(1), takes(3))
    with monkeypatch.context() as patch:
        from benchmarks import processes  # noqa: PLC0415 - what is interrupted

        measured: list[Side] = []

        def interrupted(one: Side, where: object) -> object:
            measured.append(one)
            if len(measured) == 2:
                raise KeyboardInterrupt
            return processes.measure_in_process(one, where)  # type: ignore[arg-type]

        patch.setattr("benchmarks.__main__.measure_in_process", interrupted)
        assert bench(quick) == 130
    assert recorded(docs) == ()
    capsys.readouterr()

    assert bench(quick) == 0

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("round")]
    assert [line.endswith("measured before") for line in lines] == [True, False, False, False]


def test_every_claim_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0

    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [each.name for each in CLAIMS]


def test_a_claim_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["slowness"])

    assert "frozen_seeds" in capsys.readouterr().err

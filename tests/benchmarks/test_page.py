"""docs/benchmarks.md says what the record and the claims say."""

from pathlib import Path

from benchmarks.__main__ import DOCS
from benchmarks.claim import Case, Claim, Reading, at_most
from benchmarks.claims import CLAIMS
from benchmarks.machine import describe_machine
from benchmarks.measurement import Measurement, side
from benchmarks.page import PAGE_FILE, build_page
from benchmarks.record import RECORD_FILE, BenchmarkRecord, build_result, read_record, write_record
from benchmarks.works import WORKS

PAGE, RECORD = DOCS / PAGE_FILE, DOCS / RECORD_FILE
CASE = Case(title="work", work="a", ours=Reading(side("acme:ours")), pairs=1)
CLAIM = Claim(name="quick", sentence="It is quick", quotient="ours", target=at_most(2, " s"), cases=(CASE,))


def record(seconds: float, *, device: str = "cpu") -> BenchmarkRecord:
    kind = "cpu" if device == "cpu" else "cuda"
    machine = describe_machine("cpu").model_copy(update={"device": device})
    measured = [[Measurement(values={"seconds": seconds})]]
    return BenchmarkRecord().put(build_result(CLAIM, CASE, measured, kind, machine))  # type: ignore[arg-type]


def row(page: str) -> list[str]:
    line = next(line for line in page.splitlines() if line.startswith("| [quick]"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_page_is_what_the_record_says() -> None:
    assert PAGE.read_text("utf-8") == build_page(CLAIMS, WORKS, read_record(RECORD))


def test_every_claim_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")

    assert [claim.name for claim in CLAIMS if f"### {claim.name}\n\n{claim.sentence}." not in page] == []


def test_the_record_holds_only_cases_that_are_claimed() -> None:
    claimed = {(claim.name, case.title) for claim in CLAIMS for case in claim.cases}

    assert {(result.claim, result.case) for result in read_record(RECORD).results} <= claimed


def test_a_claim_that_was_never_measured_says_so() -> None:
    page = build_page([CLAIM], WORKS, BenchmarkRecord())

    assert row(page)[3:] == ["not yet", "not yet", "never run"]
    assert "- Not measured yet." in page


def test_a_target_that_is_reached_or_missed_is_named() -> None:
    assert row(build_page([CLAIM], WORKS, record(1.5)))[3:5] == ["1.5 s (one pair)", "yes"]
    assert row(build_page([CLAIM], WORKS, record(2.5)))[3:5] == ["2.5 s (one pair)", "**no**"]


def test_a_gpu_is_named_with_the_day() -> None:
    found = record(1.5, device="Acme GPU")

    assert (
        row(build_page([CLAIM], WORKS, found))[5]
        == f"1.5 s (one pair), run on Acme GPU, {found.results[0].measured_on}"
    )


def test_a_later_measurement_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    write_record(path, record(1.5))

    write_record(path, read_record(path).put(record(2.5).results[0]))

    assert [result.median for result in read_record(path).results] == [2.5]

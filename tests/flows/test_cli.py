"""The command as people use it. One real run is shared; what follows from it is read off its output and its files."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import psutil
import pytest
from typer.testing import Result

from flows.cli import app
from flows.comparison import Comparison
from flows.standings import STANDINGS_COLUMNS
from worker.contract.arms import Mode
from worker.contract.plan import Plan
from worker.contract.results import ArmState, ArmStatus
from worker.contract.store import ResultsStore, RunRecords

Run = subprocess.CompletedProcess[str]
ARMS = {"live-llama": "Live Llama", "frozen-llama": "Frozen Llama", "frozen-qwen2-5": "Frozen Qwen2.5"}
RUN_FILES = {"config.json", "curve.jsonl", "predictions.jsonl", "result.json", "attempts.jsonl"}
RESULT_FILES = ("curve.jsonl", "predictions.jsonl", "result.json")
DRAWN = ("comparison.json", "comparison.png", "comparison.svg")


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def records(store: Path, arm: str, seed: int = 0) -> RunRecords:
    return RunRecords(ResultsStore(str(store)), "small", arm, seed)


def test_a_comparison_ends_well_and_prints_standings_and_chart(first_run: Run, finished: Path) -> None:
    assert first_run.returncode == 0
    assert first_run.stderr == ""
    heading, *rows = first_run.stdout.splitlines()[-5:]
    assert heading.split() == " ".join(STANDINGS_COLUMNS).split()
    for row, label in zip(rows, ARMS.values(), strict=False):
        assert re.fullmatch(rf"{re.escape(label)} +(live|frozen) +0\.\d+ +- +0\.\d+ \(\d\)( +0\.\d+){{3}} *", row)
    assert rows[-1] == f"Chart: {finished}/small/comparison.png"


def test_progress_is_plain_lines_where_there_is_no_terminal(first_run: Run) -> None:
    lines = first_run.stdout.splitlines()

    assert lines[0] == "Small: 3 arms, seeds 0, 1"
    for label in ARMS.values():
        own = [line for line in lines if line.startswith(f"{label}: ")]
        assert own[-1].startswith(f"{label}: done, accuracy 0.")
        assert re.search(r" at step 8, \d+\.\d s$", own[-1])
        assert f"{label}: running" in own
    assert "\x1b" not in first_run.stdout


def test_the_store_holds_exactly_the_promised_files(finished: Path) -> None:
    expected = {".lock", "plan.json", "prepared/data.json", *DRAWN}
    for arm in ARMS:
        expected |= {f"runs/{arm}/status.json", f"runs/{arm}/progress.json"}
        expected |= {f"runs/{arm}/seed-{seed}/{name}" for seed in (0, 1) for name in RUN_FILES}

    assert set(files(finished)) == {f"small/{name}" for name in expected}


@pytest.mark.parametrize("arm", ARMS)
def test_every_curve_has_every_step(finished: Path, arm: str) -> None:
    for seed in (0, 1):
        curve = records(finished, arm, seed).read_curve()

        assert [point.step for point in curve] == list(range(9))
        assert all(point.validation_accuracy is not None for point in curve)


def test_every_arm_is_done_in_one_attempt_and_its_status_says_when(finished: Path) -> None:
    for arm in ARMS:
        status = ArmStatus.model_validate_json((finished / "small" / "runs" / arm / "status.json").read_bytes())
        assert (status.state, status.failure, status.reused_seeds) == (ArmState.DONE, None, ())
        times = [moment for moment in (status.queued_at, status.started_at, status.ended_at) if moment is not None]
        assert len(times) == 3
        assert times == sorted(times)
        assert [attempt.exit_code for attempt in records(finished, arm).read_attempts()] == [0]


def test_workers_compute_with_the_threads_of_their_place(finished: Path) -> None:
    cores = len(os.sched_getaffinity(0))

    results = [records(finished, arm).read_result() for arm in ARMS]

    assert all(result is not None and 1 <= result.num_threads <= max(1, cores // 2) for result in results)


def test_only_the_live_backbone_was_trained(finished: Path) -> None:
    for arm in ARMS:
        result = records(finished, arm).read_result()
        assert result is not None
        has_moved = result.proof.weights_hash_before != result.proof.weights_hash_after
        assert has_moved == (result.arm.mode is Mode.LIVE)


def test_the_comparison_record_holds_every_arm(finished: Path) -> None:
    comparison = Comparison.model_validate_json((finished / "small" / "comparison.json").read_bytes())

    assert [arm.label for arm in comparison.arms] == list(ARMS.values())
    assert comparison.missing == ()
    assert (finished / "small" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (finished / "small" / "comparison.svg").read_text("utf-8")


@pytest.mark.usefixtures("first_run")
def test_nothing_runs_on_after_the_command(
    finished: Path, find_descendants: Callable[..., list[psutil.Process]]
) -> None:
    assert find_descendants("FREEZE_BENCH_TEST_RUN", str(finished)) == []


def test_the_same_command_again_runs_nothing_and_changes_no_byte(
    copied: Path, workplace: Path, run_cli: Callable[..., Run], tmp_path: Path
) -> None:
    poisoned = tmp_path / "poisoned"
    poisoned.mkdir()
    for package in ("prefect", "torch", "transformers"):
        (poisoned / f"{package}.py").write_text("raise ImportError('nothing may start')", "utf-8")
    before = files(copied)

    again = run_cli("compare", workplace / "small.toml", "--results", copied, PYTHONPATH=str(poisoned))

    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[1] == "Every result is in the store; nothing to run."
    assert again.stdout.splitlines()[-1] == f"Chart: {copied}/small/comparison.png"
    assert files(copied) == before


@pytest.mark.usefixtures("prefect_server")
def test_fresh_makes_every_result_again_with_the_same_bytes(
    copied: Path, finished: Path, workplace: Path, invoke: Callable[..., Result]
) -> None:
    text, _, last_arm = (workplace / "small.toml").read_text("utf-8").rpartition("[[arms]]")
    assert "qwen2" in last_arm
    shorter = workplace / "shorter.toml"
    shorter.write_text(text, "utf-8")

    again = invoke("compare", shorter, "--results", copied, "--fresh", "--workers", 2)

    assert again.exit_code == 0, again.output
    for arm in ("live-llama", "frozen-llama"):
        assert f"{ARMS[arm]}: done" in again.stdout
        assert [attempt.exit_code for attempt in records(copied, arm).read_attempts()] == [0, 0]
    for name in RESULT_FILES:
        for path in finished.rglob(name):
            other = copied / path.relative_to(finished)
            assert other.read_bytes() == path.read_bytes(), other


@pytest.mark.usefixtures("prefect_server")
def test_only_what_is_torn_or_new_is_run(
    copied: Path, finished: Path, workplace: Path, invoke: Callable[..., Result]
) -> None:
    torn = copied / "small" / "runs" / "frozen-qwen2-5" / "seed-1" / "curve.jsonl"
    torn.write_bytes(torn.read_bytes()[:-40])
    grown = workplace / "grown.toml"
    extra = f'[[arms]]\nlabel = "Frozen Extra"\nbackbone = "{workplace}/backbones/llama"\nmode = "frozen"\n'
    grown.write_text((workplace / "small.toml").read_text("utf-8") + extra, "utf-8")

    run = invoke("compare", grown, "--results", copied)

    assert run.exit_code == 0, run.output
    assert "Live Llama: reused" in run.stdout
    assert "Frozen Llama: reused" in run.stdout
    assert "Frozen Qwen2.5: done" in run.stdout
    assert "Frozen Extra: done" in run.stdout
    num_attempts = {
        (arm, seed): len(records(copied, arm, seed).read_attempts())
        for arm in (*ARMS, "frozen-extra")
        for seed in (0, 1)
    }
    assert num_attempts == dict.fromkeys(num_attempts, 1) | {("frozen-qwen2-5", 1): 2}
    assert torn.read_bytes() == (finished / torn.relative_to(copied)).read_bytes()


def test_a_torn_curve_is_named_by_the_report(copied: Path, invoke: Callable[..., Result]) -> None:
    torn = copied / "small" / "runs" / "frozen-qwen2-5" / "seed-0" / "curve.jsonl"
    torn.write_bytes(torn.read_bytes()[:-40])

    report = invoke("report", copied)

    assert report.exit_code == 1
    comparison = Comparison.model_validate_json((copied / "small" / "comparison.json").read_bytes())
    (gap,) = comparison.missing
    assert gap.label == "Frozen Qwen2.5"
    assert "runs/frozen-qwen2-5/seed-0/curve.jsonl is not what its result.json was made of" in gap.reason
    assert "Frozen Qwen2.5" in report.output
    assert "curve.jsonl" in report.output


@pytest.mark.parametrize(
    ("override", "differing"),
    [
        ("training.steps=9", "training.steps is 9, was 8"),
        ("data.train_examples=64", "data.train_examples is 64, was 128"),
    ],
)
def test_other_conditions_under_the_same_name_are_refused(
    copied: Path, workplace: Path, invoke: Callable[..., Result], override: str, differing: str
) -> None:
    before = files(copied)

    for command in ("compare", "plan"):
        refused = invoke(command, workplace / "small.toml", "--results", copied, "--set", override)

        assert refused.exit_code == 2
        assert differing in refused.stderr
        assert f"Give the plan another name, or move {copied}/small away." in refused.stderr
    assert files(copied) == before


@pytest.mark.usefixtures("prefect_server")
def test_other_content_of_the_same_data_file_is_refused(
    copied: Path, workplace: Path, invoke: Callable[..., Result], write_news: Callable[..., Path]
) -> None:
    news = workplace / "news.csv"
    original = news.read_bytes()
    before = files(copied)
    write_news(news, seed=1)
    try:
        refused = invoke("compare", workplace / "small.toml", "--results", copied)
    finally:
        news.write_bytes(original)

    assert refused.exit_code == 2
    assert f"the content of {news} has changed" in refused.stderr
    changed = {name for name, content in files(copied).items() if content != before.get(name)}
    assert {PurePosixPath(name).name for name in changed} <= {"status.json"}


@pytest.mark.parametrize("named", ["", "small"])
def test_a_report_needs_neither_cache_nor_the_place_it_was_made_at(
    copied: Path,
    finished: Path,
    invoke: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    named: str,
) -> None:
    for name in DRAWN:
        (copied / "small" / name).unlink()
    nothing = copied.with_name("nothing")
    monkeypatch.setenv("FREEZE_BENCH_CACHE", str(nothing))

    report = invoke("report", copied / named)

    assert report.exit_code == 0, report.output
    assert files(copied) == files(finished)
    assert f"Chart: {copied}/small/comparison.png" in report.stdout
    assert not nothing.exists()


def test_a_report_of_nothing_says_so(invoke: Callable[..., Result], tmp_path: Path) -> None:
    report = invoke("report", tmp_path)

    assert report.exit_code == 2
    assert report.stderr.startswith(f"There is no comparison in {tmp_path}.")


def test_the_schema_is_that_of_a_plan(invoke: Callable[..., Result]) -> None:
    assert json.loads(invoke("schema").stdout) == Plan.model_json_schema()


BAD_PLANS = {
    "not TOML": ("name =", "name", "is not TOML"),
    "unknown key": ("batch_size", "bach_size", "training.bach_size: unknown key. Did you mean 'batch_size'?"),
    "unknown arm key": ("label", "lbel", "arms[0].lbel: unknown key. Did you mean 'label'?"),
    "wrong type": ("steps = 8", 'steps = "many"', "training.steps: "),
    "out of bounds": ("steps = 8", "steps = 0", "training.steps: "),
    "duplicate arm": ("Frozen Qwen2.5", "Frozen Llama", "two arms are named 'Frozen Llama' and 'Frozen Llama'"),
    "unknown mode": ('mode = "live"', 'mode = "thawed"', "arms[0].mode: "),
    "no data file": ("news.csv", "olds.csv", "olds.csv"),
    "no backbone folder": ("./backbones/qwen2", "./backbones/qwen9", "is not a folder with a config.json"),
    "unknown tiny architecture": (
        "./backbones/qwen2",
        "tiny:qwen9",
        "unknown tiny architecture 'qwen9'; there are qwen3,",
    ),
    "no arms": ("[[arms]]", "[[legs]]", "arms: missing"),
}


@pytest.mark.parametrize("case", BAD_PLANS)
def test_a_bad_plan_is_explained(workplace: Path, invoke: Callable[..., Result], tmp_path: Path, case: str) -> None:
    old, new, message = BAD_PLANS[case]
    text = (workplace / "small.toml").read_text("utf-8")
    assert old in text
    bad = workplace / "bad.toml"
    bad.write_text(text.replace(old, new), "utf-8")

    for command in ("compare", "plan"):
        refused = invoke(command, bad, "--results", tmp_path / "out")

        assert_is_refusal(refused, message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.steps", "--set 'training.steps' is not key=value"),
        ("training.steps=many", "training.steps: "),
        ("training.steps.more=1", "'steps' is not a table"),
        ("arms.0=1", "'arms' is not a table"),
        ("trainings.steps=3", "trainings: unknown key. Did you mean 'training'?"),
    ],
)
def test_a_bad_override_is_explained(
    workplace: Path, invoke: Callable[..., Result], tmp_path: Path, override: str, message: str
) -> None:
    refused = invoke("compare", workplace / "small.toml", "--results", tmp_path / "out", "--set", override)

    assert_is_refusal(refused, message)


def test_a_plan_that_is_not_there_is_named(run_cli: Callable[..., Run], tmp_path: Path) -> None:
    """Run as a process, to see what a person sees."""
    refused = run_cli("compare", tmp_path / "absent.toml")

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr == f"There is no plan {tmp_path}/absent.toml.\nCheck the path; plans/ has examples.\n"


@pytest.mark.usefixtures("prefect_server")
def test_data_without_the_named_column_is_a_bad_plan(
    workplace: Path, invoke: Callable[..., Result], tmp_path: Path
) -> None:
    column = "data.text_column=body"

    refused = invoke("compare", workplace / "small.toml", "--results", tmp_path / "out", "--set", column)

    assert_is_refusal(refused, "'body'")
    assert not list((tmp_path / "out").rglob("result.json"))


def assert_is_refusal(refused: Result, message: str) -> None:
    assert refused.exit_code == 2, refused.output
    assert message in refused.stderr
    assert refused.stderr.count(message) == 1
    assert "Traceback" not in refused.output
    assert isinstance(refused.exception, SystemExit)


HELP = """
import json, sys
from typer.testing import CliRunner
from flows.cli import app
pages = {}
for command in sys.argv[1:]:
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    pages[command] = [result.exit_code, result.output]
print(json.dumps({"pages": pages, "modules": sorted(sys.modules)}))
"""


def test_help_of_every_command_has_an_example_and_loads_nothing_heavy() -> None:
    commands = [command.name or str(getattr(command.callback, "__name__", None)) for command in app.registered_commands]

    said = json.loads(
        subprocess.run([sys.executable, "-c", HELP, "", *commands], capture_output=True, check=True).stdout
    )

    assert {"compare", "plan", "report", "schema"} <= set(commands)
    assert "freeze-bench compare plans/demo.toml" in said["pages"].pop("")[1]
    for command, (exit_code, page) in said["pages"].items():
        assert exit_code == 0
        assert "Example" in page
        assert f"freeze-bench {command}" in page.split("Example", 1)[1]
    heavy = {"torch", "transformers", "prefect", "matplotlib", "numpy", "datasets"}
    assert not heavy.intersection(said["modules"])

"""``freeze-bench plan``: what would run, what is done, and that looking changes nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from flows.outlook import look_ahead
from flows.outlook_table import format_count, format_seconds
from flows.plan_file import load_plan
from flows.settings import RunnerSettings


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "logs" not in path.relative_to(folder).parts
    }


@pytest.fixture
def settings(finished: Path, cache: Path) -> RunnerSettings:
    return RunnerSettings(results=str(finished), cache=str(cache))


def test_a_finished_comparison_has_nothing_to_run(
    finished: Path, workplace: Path, invoke: Callable[..., Result], cache: Path
) -> None:
    before = files(finished), files(cache)

    shown = invoke("plan", workplace / "small.toml", "--results", finished)

    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith(f"Small in {finished}/small\n")
    assert "data: source " in shown.stdout
    assert "training: steps 8, batch_size 16, " in shown.stdout
    assert shown.stdout.count("seed 0, seed 1") == 3
    assert "would fail" not in shown.stdout
    assert (files(finished), files(cache)) == before


def test_what_is_missing_torn_or_new_is_to_run(copied: Path, workplace: Path, settings: RunnerSettings) -> None:
    torn = copied / "small" / "runs" / "frozen-llama" / "seed-0" / "predictions.jsonl"
    torn.write_bytes(torn.read_bytes()[:-40])
    shutil.rmtree(copied / "small" / "runs" / "live-llama")
    plan = load_plan(workplace / "small.toml", ["seeds=[0, 1, 2]"])

    outlooks = look_ahead(plan, settings.model_copy(update={"results": str(copied)}))

    assert {outlook.arm.label: outlook.done_seeds for outlook in outlooks} == {
        "Live Llama": (),
        "Frozen Llama": (1,),
        "Frozen Qwen2.5": (0, 1),
    }
    assert all(outlook.backbone and outlook.problem is None for outlook in outlooks)


def test_other_learning_rates_of_the_backbone_concern_only_live_arms(workplace: Path, settings: RunnerSettings) -> None:
    outlooks = look_ahead(load_plan(workplace / "small.toml", ["training.backbone_lr=1e-4"]), settings)

    assert {outlook.arm.mode: outlook.done_seeds for outlook in outlooks} == {"live": (), "frozen": (0, 1)}


def test_looking_with_an_empty_cache_makes_nothing(
    workplace: Path, invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FREEZE_BENCH_CACHE", str(tmp_path / "cache"))

    shown = invoke("plan", workplace / "small.toml", "--results", tmp_path / "results")

    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("seed 0, seed 1") == 3
    assert files(tmp_path) == {}


def test_a_backbone_that_would_fail_is_named_before_anything_runs(
    workplace: Path, settings: RunnerSettings, invoke: Callable[..., Result], tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(workplace / "backbones" / "llama" / "config.json", bare)
    plan = tmp_path / "plan.toml"
    text = (workplace / "small.toml").read_text("utf-8").replace("./backbones", f"{workplace}/backbones")
    text = text.replace("news.csv", f"{workplace}/news.csv").replace(f"{workplace}/backbones/qwen2", "./bare")
    plan.write_text(text, "utf-8")

    shown = invoke("plan", plan, "--results", settings.results)

    assert shown.exit_code == 0, shown.output
    flat = " ".join(shown.stdout.split())
    assert "Frozen Qwen2.5 would fail: " in flat
    assert "holds no safetensors weights; pickle files are never loaded." in flat
    assert flat.count("would fail") == 1


def test_every_arm_is_told_with_its_size_memory_time_and_gpu(
    workplace: Path, settings: RunnerSettings, invoke: Callable[..., Result]
) -> None:
    shown = invoke(
        "plan", workplace / "small.toml", "--results", settings.results, "--device", "cpu", "--tflops", "0.01"
    )

    assert shown.exit_code == 0, shown.output
    _, _, needs = shown.stdout.partition("peak memory")
    rows = {line[:14].strip(): line[14:].split() for line in needs.splitlines()[1:4]}
    assert set(rows) == {"Live Llama", "Frozen Llama", "Frozen Qwen2.5"}
    assert {row[-1] for row in rows.values()} == {"none"}
    assert rows["Live Llama"][0] == rows["Frozen Llama"][0]
    assert "at 0.01 TFLOP/s as told" in needs
    assert "upper bounds" not in needs


def test_a_machine_without_a_gpu_estimates_for_one_at_the_rate_that_it_is_told(
    workplace: Path, settings: RunnerSettings, invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    asked = ("plan", workplace / "small.toml", "--results", settings.results, "--device", "cuda")

    told, untold = (invoke(*asked, *rate).stdout.partition("peak memory")[2] for rate in (("--tflops", "60"), ()))

    assert [line.split()[-1] for line in told.splitlines()[1:4]] == ["1", "1", "1"]
    assert "at 60 TFLOP/s as told" in told
    assert [line.split()[-2:] for line in untold.splitlines()[1:4]] == [["?", "1"]] * 3
    assert "there is none here: --tflops tells times at a rate." in untold


def test_what_an_empty_cache_leaves_open_is_told_as_an_upper_bound(
    workplace: Path, invoke: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FREEZE_BENCH_CACHE", str(tmp_path / "cache"))
    gguf = tmp_path / "file.gguf"
    gguf.write_bytes(b"GGUF")
    text = (workplace / "small.toml").read_text("utf-8").replace("news.csv", f"{workplace}/news.csv")
    text = text.replace("./backbones/llama", "tiny:llama").replace("./backbones/qwen2", str(gguf))
    plan = tmp_path / "plan.toml"
    plan.write_text(text, "utf-8")

    shown = invoke("plan", plan, "--results", tmp_path / "results")

    assert shown.exit_code == 0, shown.output
    assert "each text is taken to have max_tokens: upper bounds." in shown.stdout
    assert f"Frozen Qwen2.5: what it needs is not known. How large {gguf} is, is known when it is prepared." in (
        shown.stdout
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (12, "12"),
        (191_000, "191k"),
        (134_515_008, "135M"),
        (7_504_924_672, "7.50B"),
        (10**9, "1.00B"),
        (999_700_000, "1.00B"),
    ],
)
def test_numbers_of_parameters_are_told_with_three_digits(count: int, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "< 1 s"), (3.64, "3.6 s"), (59, "59 s"), (246, "4.1 min"), (9000, "2.5 h"), (1e6, "12 d")],
)
def test_durations_are_told_in_their_largest_unit(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text

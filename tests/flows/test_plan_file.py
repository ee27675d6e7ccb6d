"""Plan files: what is read, what is changed by overrides, and how every problem is named."""

from pathlib import Path

import pytest

from flows.plan_file import load_plan
from worker.contract.arms import Mode
from worker.contract.errors import ConfigError
from worker.contract.plan import LANGUAGE_NAMES, Plan

PLANS = Path(__file__).parents[2] / "plans"
TEXT = """
name = "A plan"
[data]
source = "builtin:language-names"
[[arms]]
backbone = "acme/base"
mode = "frozen"
"""


def put(folder: Path, text: str = TEXT) -> Path:
    path = folder / "plan.toml"
    path.write_text(text, "utf-8")
    return path


def problem(folder: Path, text: str = TEXT, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_plan(put(folder, text), overrides)
    return caught.value.problem


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.toml")), ids=lambda path: path.name)
def test_every_plan_that_we_ship_can_be_used(path: Path) -> None:
    plan = load_plan(path)

    assert plan.comparison == path.stem
    assert [arm.mode for arm in plan.arms].count(Mode.LIVE) == 1
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_what_a_plan_leaves_out_has_defaults_and_a_label(tmp_path: Path) -> None:
    plan = load_plan(put(tmp_path))

    assert (plan.comparison, plan.seeds, plan.training.steps) == ("a-plan", (0, 1, 2), 110)
    assert [arm.label for arm in plan.arms] == ["Frozen base"]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.steps=50", 50),
        ("training.head_lr=[1e-3, 1e-2]", (1e-3, 1e-2)),
        ("training.schedule=linear", "linear"),
        ('training.schedule="linear"', "linear"),
        ("seeds=[7]", (7,)),
        ("name=Other = name", "Other = name"),
        ("data.split_seed=7", 7),
    ],
)
def test_an_override_changes_one_setting(tmp_path: Path, override: str, value: object) -> None:
    plan = load_plan(put(tmp_path), [override])

    found: object = plan
    for key in override.partition("=")[0].split("."):
        found = getattr(found, key)
    assert found == value
    assert plan.data.source == LANGUAGE_NAMES


def test_the_last_of_two_overrides_counts(tmp_path: Path) -> None:
    assert load_plan(put(tmp_path), ["training.steps=50", "training.steps=60"]).training.steps == 60


def test_relative_paths_are_read_from_the_plans_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}", "utf-8")
    (tmp_path / "own.csv").write_text("text,label\n", "utf-8")
    text = TEXT.replace("acme/base", "./bert").replace(LANGUAGE_NAMES, "own.csv")

    plan = load_plan(put(tmp_path, text))

    assert plan.arms[0].backbone.source == str(tmp_path / "bert")
    assert plan.data.source == str(tmp_path / "own.csv")


@pytest.mark.parametrize("source", ["builtin:language-names", "fancyzhx/ag_news", "ag_news"])
def test_a_source_that_is_no_file_stays_as_it_is(tmp_path: Path, source: str) -> None:
    assert load_plan(put(tmp_path, TEXT.replace(LANGUAGE_NAMES, source))).data.source == source


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    text = TEXT.replace("[data]", "seed = 3\n[data]\nsplit_sed = 1") + "lbel = 'x'\n[training]\nsteps = 1.5\n"

    lines = problem(tmp_path, text).splitlines()

    assert lines[0] == f"The plan {tmp_path}/plan.toml cannot be used:"
    assert sorted(lines[1:]) == [
        "  arms[0].lbel: unknown key. Did you mean 'label'?",
        "  data.split_sed: unknown key. Did you mean 'split_seed'?",
        "  seed: unknown key. Did you mean 'seeds'?",
        "  training.steps: Input should be a valid integer (given: 1.5)",
    ]


def test_an_unknown_key_that_is_like_no_other_gets_the_list(tmp_path: Path) -> None:
    text = TEXT + "zebra = 1\n"

    assert "arms[0].zebra: unknown key. Known keys: label, backbone, revision, allow_code, mode." in problem(
        tmp_path, text
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "A plan"\n', "", "name: missing."),
        ('name = "A plan"', 'name = "%%"', "name '%%' has no letter a-z or digit"),
        ('"acme/base"', '"./absent"', "absent is not a folder with a config.json"),
        ('"acme/base"', '"acme/base/more"', "is neither a hub id (owner/name), nor tiny:<architecture>, nor a folder"),
        ('"acme/base"', '"tiny:llama"\nrevision = "main"', "revision 'main' has no meaning for 'tiny:llama'"),
        ('"frozen"', '"FROZEN"', "arms[0].mode: "),
        ('name = "A plan"', 'name = "A plan"\nseeds = [1, 1]', "seeds: [1, 1] holds a seed twice"),
    ],
)
def test_a_problem_says_where_and_what(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    assert message in problem(tmp_path, TEXT.replace(old, new))


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    assert "warmup_steps 5 is more than steps 3" in problem(tmp_path, TEXT, "training.steps=3")


def test_a_plan_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_bytes(b"\xff\xfe")

    for unreadable in (path, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_plan(unreadable)

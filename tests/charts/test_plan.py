"""The default plan: one of the project's own, or the user's, as the runner will read it."""

from pathlib import Path

import helm_python
import pytest

from chart_renderer import CHART, render
from flows.plan_file import load_plan
from worker.contract.plan import Plan

PLANS = Path(__file__).parents[2] / "plans"
OWN = """
name = "tickets"

[data]
source = "fancyzhx/ag_news"

[training]
head_lr = 1e-2

[[arms]]
backbone = "Qwen/Qwen3-1.7B-Base"
mode = "frozen"
"""


@pytest.mark.parametrize("name", ["seed.toml", "demo.toml"])
def test_the_charts_plans_are_the_projects(name: str) -> None:
    assert (CHART / "files/plans" / name).read_bytes() == (PLANS / name).read_bytes()


@pytest.mark.parametrize(("value", "name"), [("reference", "seed.toml"), ("demo", "demo.toml")])
def test_a_plan_is_chosen_by_its_name(value: str, name: str, tmp_path: Path) -> None:
    assert read_plan(value, tmp_path) == load_plan(PLANS / name)


def test_the_reference_plan_is_the_default(tmp_path: Path) -> None:
    assert read_plan(None, tmp_path) == load_plan(PLANS / "seed.toml")


def test_a_whole_plan_arrives_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN, "utf-8")

    assert read_plan(OWN, tmp_path) == load_plan(tmp_path / "own.toml")


@pytest.mark.parametrize("value", ["seed", "my-plan.toml", " "])
def test_what_is_no_plan_is_refused_with_the_way_to_give_one(value: str) -> None:
    with pytest.raises(helm_python.HelmError, match=r"--set-file plan=my-plan\.toml"):
        render({"plan": value})


@pytest.mark.parametrize("value", ["demo", "demo\n"])
def test_the_demo_asks_for_no_gpu(value: str) -> None:
    release = render({"plan": value})

    assert release.settings["gpus_per_arm"] == 0
    assert "nvidia.com/gpu" not in str(release.find_pod("worker")["spec"]["containers"])


def read_plan(value: str | None, folder: Path) -> Plan:
    """Return the plan that a release's runner would find."""
    release = render({"plan": value} if value else {})
    path = folder / "plan.toml"
    path.write_text(release.find("ConfigMap", "bench-freeze-bench-plan")["data"]["plan.toml"], "utf-8")
    return load_plan(path)

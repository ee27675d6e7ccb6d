"""The rules, as Prometheus takes them: promtool runs the cases for each in the ``*.yaml`` beside this file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from promtool import run_promtool

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts" / "files" / "rules" / "freeze-bench.yaml"
GUIDE = ROOT / "docs" / "operations.md"
CASES = sorted(Path(__file__).parent.glob("*.yaml"))

ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"] if "alert" in rule
]

for_each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


@pytest.mark.system
def test_prometheus_takes_the_rules() -> None:
    checked = run_promtool("check", "rules", RULES)

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.system
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_rules_say_what_they_should(case: Path) -> None:
    tested = run_promtool("test", "rules", case)

    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.system
@for_each_alert
def test_an_alert_that_never_fires_is_found_out(alert: dict[str, Any], tmp_path: Path) -> None:
    """Otherwise the cases of this alert would hold whatever it says."""
    name = alert["alert"]
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            if rule.get("alert") == name:
                rule["expr"] = f"({rule['expr']}) and on () vector(0) == 1"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules), "utf-8")
    cases = yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text("utf-8"))
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases | {"rule_files": ["rules.yaml"]}), "utf-8")

    tested = run_promtool("test", "rules", tmp_path / "cases.yaml")
    assert tested.returncode == 1
    assert name in tested.stderr


def test_every_alert_has_cases_in_which_it_fires_and_in_which_it_does_not() -> None:
    assert {path.stem for path in CASES} == {alert["alert"] for alert in ALERTS} | {"curves"}
    for alert in ALERTS:
        tests = yaml.safe_load((Path(__file__).parent / f"{alert['alert']}.yaml").read_text("utf-8"))["tests"]
        expected = [bool(each["exp_alerts"]) for test in tests for each in test["alert_rule_test"]]
        assert set(expected) == {True, False}


@for_each_alert
def test_an_alert_tells_whom_to_wake_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["for"]
    assert alert["labels"]["severity"] in {"info", "warning", "critical"}
    assert {"summary", "description", "runbook_url"} <= set(alert["annotations"])


@for_each_alert
def test_an_alert_leads_to_its_entry_in_the_runbook(alert: dict[str, Any]) -> None:
    assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{alert['alert'].lower()}"
    assert f"\n### {alert['alert']}\n" in GUIDE.read_text("utf-8")


def test_the_runbook_has_no_entry_for_an_alert_that_is_gone() -> None:
    headings = [line for line in GUIDE.read_text("utf-8").splitlines() if line.startswith("### FreezeBench")]

    assert headings == [f"### {alert['alert']}" for alert in ALERTS]

"""The curves of a comparison from both ends: as files of the results store, and as Prometheus has them."""

from cluster.enclosure import wait_until
from cluster.release import Release
from dashboard_picture import DAY_SECONDS, ask_panel, find_curves_panel
from prometheus_api import Point, PrometheusApi, read_points, read_rows
from worker.contract.metric_names import ARM_STATE, EVAL_ACCURACY_BY_STEP, TRAINING_STEP
from worker.contract.metric_spec import Source
from worker.contract.plan import Plan
from worker.contract.results import EvalPoint


def read_plan(release: Release, comparison: str) -> Plan:
    """Return the plan of a comparison, as the store has it."""
    return Plan.model_validate_json(release.read_result(f"{comparison}/plan.json"))


def read_store_points(release: Release, comparison: str) -> dict[Point, float]:
    """Return every scored point of a comparison with one seed, as the store has it."""
    plan = read_plan(release, comparison)
    (seed,) = plan.seeds
    points: dict[Point, float] = {}
    for arm in plan.arms:
        content = release.read_result(f"{comparison}/runs/{arm.slug}/seed-{seed}/curve.jsonl")
        for row in map(EvalPoint.model_validate_json, content.splitlines()):
            if row.validation_accuracy is not None:
                points[arm.slug, row.step] = row.validation_accuracy
    return points


def ask_points(api: PrometheusApi, comparison: str, at: float | None = None) -> dict[Point, float]:
    """Return the points that the dashboard's own query finds, at one moment.

    Raises:
        AssertionError: A point is there twice.
    """
    (data,) = ask_panel(api, find_curves_panel(), comparison, at).values()
    return read_points(data)


def ask_source(api: PrometheusApi, comparison: str, source: Source) -> dict[Point, float]:
    """Return the points that one source has ever shown to Prometheus."""
    selector = f'{EVAL_ACCURACY_BY_STEP.name}{{comparison="{comparison}",source="{source}"}}'
    return read_points(api.query(f"max by (arm, step) (last_over_time({selector}[{DAY_SECONDS}s]))"))


def count_gauge_points(api: PrometheusApi, comparison: str) -> int:
    """Return how many points a plain gauge would have left in Prometheus: the steps that scrapes of workers met."""
    selector = f'{TRAINING_STEP.name}{{comparison="{comparison}",source="{Source.WORKER}"}}'
    series = api.query(f"{selector}[{DAY_SECONDS}s]")["result"]
    return len({(each["metric"]["arm"], value) for each in series for _, value in each["values"]})


def ask_states(api: PrometheusApi, comparison: str) -> dict[str, str]:
    """Return the state of every arm as it was scraped last."""
    rows = read_rows(api.query(f'{ARM_STATE.name}{{comparison="{comparison}"}} == 1'))
    return {labels["arm"]: labels["state"] for labels, _ in rows}


def wait_until_scraped(api: PrometheusApi, comparison: str, states: dict[str, str]) -> None:
    """Wait until Prometheus knows how every arm has ended."""
    wait_until(lambda: ask_states(api, comparison) == states, f"{states} to be scraped", seconds=90)

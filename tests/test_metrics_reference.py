"""docs/metrics.md says what the code exposes."""

import pytest

from scripts.metrics_reference import PAGE, PageError, build_page, replace_part
from worker.contract.metric_names import METRICS
from worker.contract.metric_spec import MetricSpec

PARTS = ("costs", "scrapers", "arrivals")


def test_the_tables_are_what_the_code_says() -> None:
    page = PAGE.read_text("utf-8")

    assert page == build_page(page), "run python -m scripts.metrics_reference"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_page_that_lacks_a_metric_is_another_page(metric: MetricSpec) -> None:
    page = PAGE.read_text("utf-8")
    rows = [row for row in page.splitlines() if row.startswith(f"| `{metric.name}` |")]

    assert len(rows) == 1
    assert build_page(page.replace(rows[0], "")) == page


@pytest.mark.parametrize("name", PARTS)
def test_what_is_measured_has_its_place_and_figures(name: str) -> None:
    page = PAGE.read_text("utf-8")
    part = page.partition(f"<!-- {name}: begin -->\n")[2].partition(f"<!-- {name}: end -->")[0]

    assert sum(character.isdigit() for character in part) > 10
    assert replace_part(page, name, "new") != page


def test_a_page_without_a_part_is_refused() -> None:
    with pytest.raises(PageError, match="has no part 'metrics'"):
        build_page("# Metrics\n")

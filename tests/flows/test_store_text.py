"""The text of a scrape, put together from the texts of arms."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from flows.metrics.arms import ArmSnapshot, StoreSnapshot, add_arm, add_totals
from flows.metrics.store_text import STORE_METRICS, StoreText
from worker.contract.curve_grid import ThinnedCurve
from worker.contract.metric_spec import Samples, Source
from worker.contract.results import ArmState, ArmStatus
from worker.contract.run_samples import ArmLabels, RunSnapshot

FORMS = ("text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0")
NAMES = ("plain", 'quoted"', "two\nlines", "like\n# HELP a metric\n# EOF\n", "")


class AtOnce(Collector):
    """Everything that is shown, as one."""

    def __init__(self, snapshot: StoreSnapshot) -> None:
        self.snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        samples = Samples(STORE_METRICS)
        for arm in self.snapshot.arms:
            add_arm(samples, arm)
        add_totals(samples, self.snapshot)
        for spec, of_metric in samples.families():
            family = Metric(spec.family, spec.help, spec.kind)
            family.samples = [Sample(*sample) for sample in of_metric]
            yield family


def make_arm(name: str, num_points: int) -> ArmSnapshot:
    curve = ThinnedCurve(range(num_points), [0.5] * num_points, 0, num_points - 1, 0.5)
    run = RunSnapshot(
        seed=0,
        dataset=name,
        revision=name,
        step=1,
        accuracy=0.5,
        curve=curve,
        num_planned=9,
        is_complete=False,
        last_step_at=1.5,
    )
    return ArmSnapshot(
        labels=ArmLabels("trial", name, name, "frozen", Source.STORE),
        status=ArmStatus(state=ArmState.QUEUED, flow_run="run", seeds=(0,), updated_at=1.5),
        progress=None,
        worker_seconds_left=None,
        queued_seconds=2.0,
        num_attempts=1,
        runs=(run,),
    )


@pytest.fixture
def snapshots() -> list[StoreSnapshot]:
    """A store that grows, changes and empties again."""
    arms = tuple(make_arm(name, 2) for name in NAMES)
    grown = (make_arm(NAMES[0], 3), *arms[1:3])
    return [
        StoreSnapshot(),
        StoreSnapshot(arms=arms[:2], num_left_out=3, read_at=5.0),
        StoreSnapshot(arms=arms, num_unreadable=2, read_at=6.0),
        StoreSnapshot(arms=grown, read_at=7.0),
        StoreSnapshot(arms=(*grown[:2], replace(grown[2], queued_seconds=7.0)), read_at=8.0),
        StoreSnapshot(read_at=9.0),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_it_is_what_is_written_when_everything_is_written_at_once(snapshots: list[StoreSnapshot], form: str) -> None:
    encode: Callable[[Collector], bytes] = choose_encoder(form)[0]
    text = StoreText(encode)

    for snapshot in snapshots:
        assert text.render(snapshot) == encode(AtOnce(snapshot))

"""A reader of a results store with a clock of its own, and what it shows to Prometheus."""

from collections.abc import Mapping

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flows.metrics.store_reader import LOOK_SECONDS, StoreReader
from flows.metrics.store_text import StoreText
from worker.contract.results import ArmState
from worker.contract.store import ResultsStore

NOW = 1_800_000_000.0
DAY = 24 * 3600.0
RISING = [0.25, 0.5, 0.5, 0.75, 0.75]
ARM = {
    "comparison": "first-try",
    "arm": "frozen-a",
    "backbone": "acme/base",
    "mode": "frozen",
    "source": "store",
}
RUN = {**ARM, "seed": "0"}


class Looking:
    """A reader with a clock of its own, and what it shows."""

    def __init__(self, store: ResultsStore) -> None:
        self.reader = StoreReader(store)
        self.now = NOW
        self.text = StoreText(generate_latest)
        self.shown: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def look(self, after: float = LOOK_SECONDS) -> None:
        """Let time go by, and look."""
        self.now += after
        text = self.text.render(self.reader.look(self.now)).decode()
        self.shown = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, labels: Mapping[str, str] | None = None, **more: str) -> float | None:
        return self.shown.get((f"freeze_bench_{name}", frozenset({**(labels or {}), **more}.items())))

    def series(self, name: str) -> list[dict[str, str]]:
        """Return the labels of every series of a metric."""
        return [dict(labels) for shown, labels in self.shown if shown == f"freeze_bench_{name}"]

    def state(self, labels: Mapping[str, str]) -> str:
        """Return the one state that an arm is said to be in."""
        of_arm = {name: value for name, value in labels.items() if name != "seed"}
        states = [each["state"] for each in self.series("arm_state") if of_arm.items() <= each.items()]
        (found,) = [state for state in states if self.value("arm_state", of_arm, state=state)]
        assert len(states) == len(ArmState)
        return found

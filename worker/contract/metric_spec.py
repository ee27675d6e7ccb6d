"""What a metric is: its name, kind, labels, where it comes from, and what it says. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Source(StrEnum):
    """Who exposes a sample; a label of every sample that both could give."""

    WORKER = "worker"
    """The worker that trains, for as long as it lives."""
    STORE = "store"
    """The flow side, from the records in the results store."""


class Kind(StrEnum):
    """Kinds of metrics, by the words of the exposition formats."""

    GAUGE = "gauge"
    COUNTER = "counter"
    INFO = "info"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSpec:
    """One metric.

    Attributes:
        name: As it is queried: counters with ``_total``, histograms without a suffix.
        kind: What may be done with its values.
        unit: Of its values, in words.
        labels: Names of its labels, in the order in which ``Samples.add`` takes their values.
        sources: Who exposes it.
        help: One sentence, shown wherever the metric is.
    """

    name: str
    kind: Kind = Kind.GAUGE
    unit: str
    labels: tuple[str, ...]
    sources: tuple[Source, ...]
    help: str

    @property
    def family(self) -> str:
        """The name without the suffix that its kind gives to every sample."""
        suffixes = {Kind.COUNTER: "_total", Kind.INFO: "_info"}
        return self.name.removesuffix(suffixes.get(self.kind, ""))

    @property
    def sample_labels(self) -> Mapping[str, tuple[str, ...]]:
        """Label names by the name of each series that the metric has in Prometheus."""
        if self.kind is not Kind.HISTOGRAM:
            return {self.name: self.labels}
        return {
            f"{self.name}_bucket": (*self.labels, "le"),
            f"{self.name}_sum": self.labels,
            f"{self.name}_count": self.labels,
        }


class Sample(NamedTuple):
    """One value of one series."""

    name: str
    labels: dict[str, str]
    value: float


class Histogram(NamedTuple):
    """How often values fell below each bound."""

    bounds: Sequence[float]
    """Upper bounds of all buckets but the last, which has none."""
    counts: Sequence[int]
    """Values in each bucket alone: one more than bounds."""
    total: float
    """Sum of all values."""


class Samples:
    """Samples by metric: what one scrape shows, whoever turns it into text."""

    def __init__(self, metrics: Sequence[MetricSpec]) -> None:
        """Hold no sample yet of any of the metrics that may come."""
        self._by_metric: dict[MetricSpec, list[Sample]] = {metric: [] for metric in metrics}

    def add(self, metric: MetricSpec, labels: Sequence[str], value: float | None) -> None:
        """Add one sample; a value that nobody knows is left out.

        Args:
            metric: Of which metric; not a histogram.
            labels: Values of its labels, in their order.
            value: In the metric's unit.
        """
        if value is not None:
            named = dict(zip(metric.labels, labels, strict=True))
            self._by_metric[metric].append(Sample(metric.name, named, value))

    def add_histogram(self, metric: MetricSpec, labels: Sequence[str], histogram: Histogram) -> None:
        """Add the samples of one histogram: buckets that add up, then the sum and the number of all values."""
        named = dict(zip(metric.labels, labels, strict=True))
        samples, num_below = self._by_metric[metric], 0
        for bound, count in zip([*map(float, histogram.bounds), float("inf")], histogram.counts, strict=True):
            num_below += count
            edge = "+Inf" if bound == float("inf") else repr(bound)
            samples.append(Sample(f"{metric.name}_bucket", {**named, "le": edge}, num_below))
        samples.append(Sample(f"{metric.name}_sum", named, histogram.total))
        samples.append(Sample(f"{metric.name}_count", named, num_below))

    def families(self) -> Iterator[tuple[MetricSpec, list[Sample]]]:
        """Yield every metric with its samples, also one that has none."""
        yield from self._by_metric.items()

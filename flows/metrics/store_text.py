"""From snapshots of a results store to the text of a scrape: an arm that is as it was is not written anew."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from flows.metrics.arms import ArmSnapshot, StoreSnapshot, add_arm, add_totals
from worker.contract.metric_names import METRICS
from worker.contract.metric_spec import Samples, Source

STORE_METRICS = tuple(metric for metric in METRICS if Source.STORE in metric.sources)
"""What the flow side exposes."""

_HEAD, _END = b"# HELP ", b"# EOF\n"
"""What the text of a metric begins with, and with what OpenMetrics ends."""


class _Written(NamedTuple):
    arm: ArmSnapshot
    lines: list[bytes]
    """Of each of ``STORE_METRICS``."""


class StoreText:
    """Writes snapshots in one form, one after the other.

    Args:
        encode: Turns a collector into text of that form.
    """

    def __init__(self, encode: Callable[[Collector], bytes]) -> None:
        """Nothing is written yet but what does not change."""
        self._encode = encode
        nothing = encode(_SampleCollector(Samples(STORE_METRICS)))
        self._end = _END if nothing.endswith(_END) else b""
        self._heads = self._split(nothing)
        self._arms: dict[tuple[str, ...], _Written] = {}

    def render(self, snapshot: StoreSnapshot) -> bytes:
        """Return the text of a snapshot."""
        self._arms = {arm.labels.of_arm: self._write_arm(arm) for arm in snapshot.arms}
        totals = Samples(STORE_METRICS)
        add_totals(totals, snapshot)
        columns = zip(self._heads, *(each.lines for each in self._arms.values()), self._write(totals), strict=True)
        return b"".join(part for column in columns for part in column) + self._end

    def _write_arm(self, arm: ArmSnapshot) -> _Written:
        known = self._arms.get(arm.labels.of_arm)
        if known and known.arm == arm:
            return known
        samples = Samples(STORE_METRICS)
        add_arm(samples, arm)
        return _Written(arm, self._write(samples))

    def _write(self, samples: Samples) -> list[bytes]:
        """Return the lines of each metric without its head."""
        texts = self._split(self._encode(_SampleCollector(samples)))
        return [text.removeprefix(head) for head, text in zip(self._heads, texts, strict=True)]

    def _split(self, text: bytes) -> list[bytes]:
        """Return the text of each metric."""
        # No label can hold what divides them: its line breaks are escaped.
        parts = (b"\n" + text.removesuffix(self._end).removesuffix(b"\n")).split(b"\n" + _HEAD)
        return [_HEAD + part + b"\n" for part in parts[1:]]


class _SampleCollector(Collector):
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        for spec, of_metric in self._samples.families():
            family = Metric(spec.family, spec.help, spec.kind)
            family.samples = [Sample(*sample) for sample in of_metric]
            yield family

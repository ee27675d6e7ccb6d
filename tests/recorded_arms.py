"""What arms and runners exposed of comparisons, as samples of the past."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from recorded_prometheus import Recorded
from worker.contract import metric_names as names
from worker.contract.curve_grid import ThinnedCurve
from worker.contract.metric_spec import Samples, Source
from worker.contract.run_samples import ArmLabels, RunSnapshot, add_run

BEGAN = 1_760_000_000
"""Unix time at which a pod begins to speak unless it is told otherwise."""

ASCENDING = tuple(step / 16 for step in range(12))


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one pod said of one arm, for a minute."""

    comparison: str
    arm: str = "live-qwen3"
    mode: str = "live"
    backbone: str = "Qwen/Qwen3-1.7B-Base"
    curves: Mapping[int, Sequence[float]] = field(default_factory=lambda: {0: ASCENDING})
    """Accuracies from step 0 on, by seed."""
    num_planned: int = len(ASCENDING)
    pod: str = "runner-1"
    state: str | None = "done"
    """None for what a worker says."""
    at: int = BEGAN
    namespace: str | None = "research"
    """None where targets have no such label: on a machine that is no part of a cluster."""
    seconds_left: float | None = 30.0
    """Of an arm that runs."""

    def record(self) -> Iterator[Recorded]:
        """Yield every sample, at the beginning and at the end of the minute."""
        source = Source.WORKER if self.state is None else Source.STORE
        labels = ArmLabels(self.comparison, self.arm, self.backbone, self.mode, source)
        samples = Samples(names.METRICS)
        for seed, values in self.curves.items():
            add_run(samples, labels, self._run(seed, values))
        if self.state is not None:
            for state in names.STATES:
                samples.add(names.ARM_STATE, (*labels.of_arm, state), float(state == self.state))
            for metric in (names.ARM_QUEUED, names.ARM_ATTEMPTS, names.ARM_PROGRESS):
                samples.add(metric, labels.of_arm, 1.0)
            samples.add(names.ARM_UPDATED_TIMESTAMP, labels.of_arm, float(self.at))
            samples.add(names.ARM_REMAINING, labels.of_arm, self.seconds_left if self.state == "running" else None)
            code = {"done": 0.0, "failed": 41.0}.get(self.state)
            samples.add(names.ARM_EXIT_CODE, labels.of_arm, code)
        target = {"job": "freeze-bench", "instance": f"{self.pod}:9464"}
        target |= {"namespace": self.namespace, "pod": self.pod} if self.namespace else {}
        for _, told in samples.families():
            for each in told:
                for at in (self.at, self.at + 60):
                    yield Recorded(each.name, {**each.labels, **target}, float(each.value), at)

    def _run(self, seed: int, values: Sequence[float]) -> RunSnapshot:
        return RunSnapshot(
            seed=seed,
            dataset="builtin:language-names",
            revision="a" * 40,
            step=len(values) - 1,
            accuracy=values[-1],
            curve=ThinnedCurve(range(len(values)), values, 0, len(values) - 1, values[-1]),
            num_planned=self.num_planned,
            is_complete=self.state == "done",
            last_step_at=float(self.at),
        )

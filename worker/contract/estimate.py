"""What an arm will need, found before it holds a GPU: parameters, memory, floating point operations. Pure.

Workers make these (``worker.estimate``); the flow side compares them with a device and puts them into words.
"""

from typing import Final, Literal

from pydantic import Field

from worker.contract.arms import Mode
from worker.contract.errors import OutOfDeviceMemoryError
from worker.contract.plan import Seeds, TrainingSettings
from worker.contract.records import Record

DeviceKind = Literal["cpu", "cuda"]

_UNITS: Final = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))

_LEAST_SHARE: Final = 999.5 / 1024
"""Of a unit: from here on, three digits of the next smaller one would not be enough."""


class EstimateRequest(Record):
    """What the arms of one backbone will do with it, as far as their needs depend on that."""

    modes: tuple[Mode, ...] = Field(min_length=1, description="Of the arms, each once.")
    seeds: Seeds = Field(description="As in the plan.")
    training: TrainingSettings = Field(description="As in the plan; backbone_lr counts for live arms only.")
    measure_machine: bool = Field(
        default=False, description="Also look at the device that the worker itself has: its memory and its rate."
    )


class MemoryEstimate(Record):
    """Bytes on the device that computes, by what they hold.

    The parts need not be alive together, and do not add up to ``peak``: a frozen backbone is gone when heads train.
    """

    weights: int = Field(ge=0, description="Parameters and buffers of the backbone, of a live arm its head too.")
    gradients: int = Field(ge=0, description="Of a live arm's parameters.")
    optimizer: int = Field(ge=0, description="AdamW's two moments, of a live arm.")
    best_weights: int = Field(
        ge=0, description="A live arm's weights of its best step. On a GPU 0: they lie in the host's memory."
    )
    activations: int = Field(ge=0, description="Largest batch, temporary tensors included, beyond the other parts.")
    features: int = Field(ge=0, description="Of all texts, of a frozen arm.")
    peak: int = Field(ge=1, description="The most that is alive at one moment.")


class FlopsEstimate(Record):
    """Floating point operations of matrix multiplications and attention, over all seeds and candidates."""

    features: int = Field(ge=0, description="Each text through the backbone once; of a live arm the train texts.")
    training: int = Field(ge=0, description="Every update, forward and backward.")
    evaluation: int = Field(ge=0, description="Validation at every evaluated step, test twice.")

    @property
    def total(self) -> int:
        """All of it."""
        return self.features + self.training + self.evaluation


class BatchShape(Record):
    """How large one batch is."""

    num_texts: int = Field(ge=1, description="Texts side by side.")
    num_tokens: int = Field(ge=1, description="Tokens of each, padding included.")


class ArmEstimate(Record):
    """What one arm needs, with all its seeds and candidates."""

    mode: Mode = Field(description="frozen or live.")
    device: DeviceKind = Field(description="What the memory is counted for.")
    num_parameters: int = Field(ge=1, description="Of the backbone.")
    num_trained_parameters: int = Field(ge=1, description="Of one head and, if live, the backbone.")
    lengths: Literal["tokens", "max_tokens"] = Field(
        description="tokens: the texts were tokenized. max_tokens: each text was taken to be that long, so that "
        "memory and operations are upper bounds."
    )
    largest_batch: BatchShape = Field(description="The batch that the activations are of.")
    memory: MemoryEstimate = Field(description="On the device.")
    flops: FlopsEstimate = Field(description="On the device.")

    def seconds(self, flops_per_second: float) -> float:
        """Return how long the arithmetic takes at a rate; all that is no matrix multiplication comes on top."""
        return self.flops.total / flops_per_second


class Machine(Record):
    """The device that a worker has."""

    device: DeviceKind = Field(description="What it is.")
    name: str = Field(min_length=1, description="Model.")
    memory_bytes: int = Field(ge=1, description="Of a GPU all it has; of the CPU what this container may use.")
    flops_per_second: float = Field(gt=0, description="Measured, of a large matrix multiplication in fp32.")


class BackboneEstimates(Record):
    """The answer to an ``EstimateRequest``."""

    machine: Machine | None = Field(
        default=None, description="The worker's device, where it was asked for and is there."
    )
    arms: tuple[ArmEstimate, ...] = Field(default=(), description="One per mode; none if there is a problem.")
    problem: str | None = Field(default=None, description="Why nothing is known of the arms, and what to do.")

    def of(self, mode: Mode) -> ArmEstimate | None:
        """Return the estimate of the arm of one mode, if there is one."""
        return next((arm for arm in self.arms if arm.mode is mode), None)


def format_bytes(num_bytes: int) -> str:
    """Write bytes with three digits that count: 2.30 GiB, and 0.990 GiB rather than 1014 MiB."""
    for factor, unit in _UNITS:
        if num_bytes >= _LEAST_SHARE * factor:
            return f"{num_bytes / factor:#.3g}".rstrip(".") + f" {unit}"
    return f"{num_bytes} bytes"


def check_memory(label: str, estimate: ArmEstimate, training: TrainingSettings, memory_bytes: int) -> None:
    """Refuse an arm that its device cannot hold.

    Args:
        label: Of the arm.
        estimate: What it needs.
        training: The settings that it was estimated with, for the remedy.
        memory_bytes: What the device has.

    Raises:
        OutOfDeviceMemoryError: It needs more.
    """
    memory = estimate.memory
    if memory.peak <= memory_bytes:
        return
    bound = "" if estimate.lengths == "tokens" else "up to "
    device = "a GPU" if estimate.device == "cuda" else "the CPU"
    raise OutOfDeviceMemoryError(
        f"{label} needs {bound}{format_bytes(memory.peak)} of memory ({_list_parts(memory)}), and {device} here has "
        f"{format_bytes(memory_bytes)}.",
        remedy=f"{_advise(estimate, training, memory_bytes)} To run it all the same: freeze-bench compare "
        "--no-memory-check, check_memory=false in the settings of a flow run, or worker.gpu.checkMemory=false in the "
        "chart's values.",
    )


def _advise(estimate: ArmEstimate, training: TrainingSettings, memory_bytes: int) -> str:
    """Return what would make an arm fit: a smaller batch helps only if the rest fits without it."""
    memory, larger = estimate.memory, f"a device with more than {format_bytes(estimate.memory.peak)}"
    if estimate.mode is Mode.LIVE:
        if memory.peak - memory.activations >= memory_bytes:
            return f"No batch is small enough: take {larger}, a smaller backbone, or mode frozen."
        return (
            f"Lower training.batch_size (now {training.batch_size}) or training.max_tokens (now "
            f"{training.max_tokens}), or take {larger}."
        )
    if memory.weights >= memory_bytes:
        return f"Its weights alone are too many: take {larger}, or a smaller backbone."
    what = "the numbers of examples" if memory.features > memory_bytes else "training.max_tokens"
    return f"Lower {what}, or take {larger}."


def _list_parts(memory: MemoryEstimate) -> str:
    parts = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "AdamW": memory.optimizer,
        "best weights": memory.best_weights,
        "activations": memory.activations,
        "features": memory.features,
    }
    return ", ".join(f"{name} {format_bytes(size)}" for name, size in parts.items() if size)

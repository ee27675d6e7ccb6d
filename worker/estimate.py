"""What the arms of one backbone will need, before any of them runs: parameters, memory, operations.

Nothing of it needs weights: the model is built of its configuration, of tensors that take no memory.
"""

from functools import partial
from pathlib import Path

import torch

from worker.contract.arms import BackboneSpec
from worker.contract.config import Execution, PrepareConfig, PreparedBackbone, RunConfig, arm_training
from worker.contract.errors import FreezeBenchError
from worker.contract.estimate import ArmEstimate, BackboneEstimates, DeviceKind, EstimateRequest, Machine
from worker.contract.machine import is_of_the_machine
from worker.estimate_arm import Work, estimate_arm
from worker.estimate_batches import TextLengths, assume_text_lengths, load_text_lengths, plan_batches
from worker.estimate_machine import look_at_machine
from worker.estimate_model import build_body, load_backbone_config
from worker.events import log

_UNKNOWN_CLASSES = 2
"""Taken for a data set that is not there: a head is small whatever it has."""


def answer_estimates(config: PrepareConfig, prepared: PreparedBackbone | None) -> BackboneEstimates | None:
    """Answer what a prepare worker is asked about the arms of its backbone; None if it is asked nothing.

    An estimate is no condition of anything: what goes wrong is a problem in the answer, and the arms may still run.

    Args:
        config: The worker's document.
        prepared: The backbone, if it is in the cache.
    """
    request, spec = config.estimate, config.backbone
    if request is None or spec is None:
        return None
    machine = _look_at_machine(config.execution) if request.measure_machine else None
    try:
        lengths = _find_lengths(config, prepared, request.training.max_tokens)
        num_classes = len(config.prepared_data.classes) if config.prepared_data else _UNKNOWN_CLASSES
        arms = _estimate(request, (spec, prepared), lengths, num_classes, config.execution)
    except FreezeBenchError as error:
        return BackboneEstimates(machine=machine, problem=str(error))
    except Exception as error:
        # A model's own forward pass may raise anything where tensors have no values.
        if is_of_the_machine(error):
            raise
        log.warning("no estimate", source=spec.source, exc_info=True)
        problem = f"{spec.source} cannot be estimated: {type(error).__name__}: {error}"
        return BackboneEstimates(machine=machine, problem=problem)
    return BackboneEstimates(machine=machine, arms=arms)


def estimate_run(config: RunConfig) -> BackboneEstimates:
    """Estimate what one arm will need, and look at the device that is here.

    Raises:
        BackboneError: It is not in the cache, or transformers cannot build it.
        DataError: A text has no token.
    """
    execution = config.execution
    request = EstimateRequest(modes=(config.arm.mode,), seeds=config.seeds, training=config.training)
    lengths = load_text_lengths(
        Path(execution.cache), config.data, config.backbone, config.training.max_tokens, keep=False
    )
    backbone = config.arm.backbone, config.backbone
    arms = _estimate(request, backbone, lengths, len(config.data.classes), execution)
    return BackboneEstimates(machine=_look_at_machine(execution), arms=arms)


def _find_lengths(config: PrepareConfig, prepared: PreparedBackbone | None, max_tokens: int) -> TextLengths:
    """Return the texts' lengths, or what the plan says of them where texts or tokenizer are not there."""
    if config.prepared_data is None or prepared is None:
        return assume_text_lengths(config.data, max_tokens)
    cache = Path(config.execution.cache)
    return load_text_lengths(cache, config.prepared_data, prepared, max_tokens, keep=not config.only_look)


def _estimate(
    request: EstimateRequest,
    backbone: tuple[BackboneSpec, PreparedBackbone | None],
    lengths: TextLengths,
    num_classes: int,
    execution: Execution,
) -> tuple[ArmEstimate, ...]:
    device = _device_kind(execution)
    model_config, own_code = load_backbone_config(*backbone, Path(execution.cache))
    batches = plan_batches(lengths, request.training, request.seeds, execution.tokens_per_batch, device)
    return tuple(
        estimate_arm(
            Work(
                mode=mode,
                training=arm_training(request.training, mode),
                num_seeds=len(request.seeds),
                num_texts={split: len(lengths_N) for split, lengths_N in lengths.by_split.items()},
                batches=batches,
                lengths=lengths.origin,
                num_classes=num_classes,
                device=device,
            ),
            partial(build_body, model_config, own_code),
        )
        for mode in request.modes
    )


def _look_at_machine(execution: Execution) -> Machine | None:
    """Return what this worker's device has and does; None if arms will have a GPU, and there is none here."""
    device = _device_kind(execution)
    return look_at_machine(torch.device(device)) if device == "cpu" or torch.cuda.is_available() else None


def _device_kind(execution: Execution) -> DeviceKind:
    """Return what arms will compute on; this worker may be one that sees no GPU and prepares for those that do."""
    if execution.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return execution.device

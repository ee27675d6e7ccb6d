"""A backbone without its values, and the bytes that a frozen arm of it cannot do without."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from worker.body import backbone_folder
from worker.contract.config import PreparedBackbone, RunConfig

_FP32_BYTES = 4


def body_without_memory(cache: Path, backbone: PreparedBackbone) -> nn.Module:
    """Return a backbone's body on the meta device, which has shapes and no values. Imports the classes of its model."""
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415 - seconds

    config = AutoConfig.from_pretrained(backbone_folder(cache, backbone), local_files_only=True)
    with torch.device("meta"):
        body: nn.Module = AutoModel.from_config(config)
    return body


def frozen_bytes(body: nn.Module, config: RunConfig) -> int:
    """Return the bytes of weights, one batch and features: what a frozen arm cannot do without.

    Of a batch, the widest moment is counted: inside a gated MLP the residual stream, its norm, and three tensors of the
    MLP's width (the activated gate, the other branch, their product) are alive together.
    """
    shape: Any = body.config
    sizes = config.data.num_examples
    num_weights = sum(parameter.numel() for parameter in body.parameters())
    num_tokens = max(config.execution.tokens_per_batch, config.training.max_tokens)
    num_activations = num_tokens * (2 * shape.hidden_size + 3 * shape.intermediate_size)
    num_features = (sizes.train + sizes.validation + sizes.test) * shape.hidden_size
    return int(_FP32_BYTES * (num_weights + num_activations + num_features))

"""The model: a backbone pooled to one vector per text, a fixed standardisation, and a linear head.

Shapes: ``B`` batch, ``T`` tokens, ``D`` hidden size, ``C`` classes.
"""

import hashlib
from itertools import chain
from typing import Self

import torch
from torch import Tensor, nn

from worker.contract.errors import BackboneError

HEAD_INIT_STD = 0.01
"""Standard deviation of the head's first weights: small, so that step 0 is a guess with a loss near log(C).

Source: DINOv2, dinov2/eval/linear.py, LinearClassifier.
"""

MIN_SCALE = 1e-6
"""Features that vary less than this over the train subset are left unscaled: dividing would only amplify noise."""


def pool_mean(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Average each text's hidden states over its real tokens, in fp32.

    Padding is left out on whichever side it stands, and whatever its token is.

    Args:
        hidden_BTD: Backbone output, any float dtype.
        mask_BT: 1 for a real token, 0 for padding; each row has a real token.

    Returns:
        ``pooled_BD`` in fp32.
    """
    weight_BT1 = mask_BT.unsqueeze(-1).to(torch.float32)
    return (hidden_BTD.to(torch.float32) * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1)


class PooledBackbone(nn.Module):
    """A pretrained body whose output is one fp32 vector per text.

    Args:
        body: A transformers model without a language-model head.
        is_frozen: Fix every weight and stay in evaluation mode for good.
    """

    def __init__(self, body: nn.Module, *, is_frozen: bool) -> None:
        """Wrap a body; freezing it takes gradients from its parameters and dropout from its forward pass."""
        super().__init__()
        self.body = body
        self.is_frozen = is_frozen
        if is_frozen:
            self.body.requires_grad_(requires_grad=False)
        self.train(mode=False)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - the signature of nn.Module.train
        """Switch to training mode, unless frozen: dropout there would be noise that no update removes."""
        return super().train(mode and not self.is_frozen)

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Return ``pooled_BD``.

        The body gets each text from its first column on: most count a token's position by its column, padding or not.

        Raises:
            BackboneError: The body has no last hidden states, as code that comes with a model may be.
        """
        order_BT = mask_BT.argsort(dim=1, descending=True, stable=True)
        ids_BT, mask_BT = ids_BT.gather(1, order_BT), mask_BT.gather(1, order_BT)
        hidden_BTD = getattr(self.body(input_ids=ids_BT, attention_mask=mask_BT), "last_hidden_state", None)
        if hidden_BTD is None:
            raise BackboneError(
                f"{type(self.body).__name__} gives no last_hidden_state to average over a text's tokens.",
                remedy="Use a backbone whose AutoModel class returns it, as those of transformers do.",
            )
        return pool_mean(hidden_BTD, mask_BT)


class Standardise(nn.Module):
    """Subtract the train subset's mean and divide by its scale, both fixed before training.

    Features of a decoder share a large mean that would otherwise make a head's first steps swing.

    Args:
        train_ND: Features of the train subset.
    """

    mean_D: Tensor
    scale_D: Tensor

    def __init__(self, train_ND: Tensor) -> None:
        """Measure mean and standard deviation (of the population) per feature."""
        super().__init__()
        scale_D, mean_D = torch.std_mean(train_ND.to(torch.float32), dim=0, correction=0)
        self.register_buffer("mean_D", mean_D)
        self.register_buffer("scale_D", torch.where(scale_D > MIN_SCALE, scale_D, torch.ones_like(scale_D)))

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return the features standardised, same shape."""
        return (features_BD - self.mean_D) / self.scale_D


def new_head(num_features: int, num_classes: int, seed: int) -> nn.Linear:
    """Make an untrained linear head in fp32: the same for the same shape and seed, whatever was drawn before.

    Weights are drawn from N(0, ``HEAD_INIT_STD``), biases are 0.
    """
    head = nn.Linear(num_features, num_classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(num_classes, num_features, generator=generator) * HEAD_INIT_STD)
        head.bias.zero_()
    return head


class TextClassifier(nn.Module):
    """Backbone, standardisation and head in one module: what a live arm trains."""

    def __init__(self, backbone: PooledBackbone, standardise: Standardise, head: nn.Linear) -> None:
        """Join the three parts."""
        super().__init__()
        self.backbone = backbone
        self.standardise = standardise
        self.head = head

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Return ``logits_BC`` in fp32."""
        logits_BC: Tensor = self.head(self.standardise(self.backbone(ids_BT, mask_BT)))
        return logits_BC


def weights_hash(module: nn.Module) -> str:
    """Return the SHA-256 over every parameter and buffer: name, dtype, shape and bytes, in order of names.

    Buffers count too, those that a checkpoint leaves out as well: a frozen backbone changes neither.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(chain(module.named_parameters(), module.named_buffers()), key=lambda pair: pair[0]):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def num_parameters(module: nn.Module) -> int:
    """Count the module's parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())

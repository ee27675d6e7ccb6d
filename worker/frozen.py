"""Frozen arms: the heads of all seeds and learning rates, trained side by side on fixed features.

The backbone is not here: its features were computed once. Seeds times candidates make ``R`` heads, which see their own
batches and never each other.

Shapes: ``R`` heads, ``N`` examples, ``B`` batch, ``D`` features, ``C`` classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from worker.checkpoint_files import State
from worker.contract.plan import TrainingSettings
from worker.evaluate import Evaluation, evaluate_logits
from worker.heads import HeadStack, linear
from worker.model import new_head
from worker.schedule import batch_rows, lr_factor
from worker.splits import Split
from worker.traces import BatchScore, RunKey


class FrozenTrainer:
    """Trains one linear head per run on standardised features.

    Args:
        keys: The runs: seed and candidate.
        features: Standardised ``[N, D]`` of each split, on the device.
        targets: ``[N]`` of each split, on the device.
        num_classes: Outputs of a head.
        settings: The shared conditions.
    """

    def __init__(
        self,
        keys: Sequence[RunKey],
        features: Mapping[Split, Tensor],
        targets: Mapping[Split, Tensor],
        num_classes: int,
        settings: TrainingSettings,
    ) -> None:
        """Initialise every head from its seed and put the order of examples down for every seed."""
        self.keys = tuple(keys)
        self._features = features
        self._targets = targets
        self._settings = settings
        device = features["train"].device
        num_examples, num_features = features["train"].shape
        self._heads = HeadStack(
            [new_head(num_features, num_classes, key.seed).to(device) for key in self.keys],
            [key.head_lr for key in self.keys],
            settings.weight_decay,
            settings.max_grad_norm,
        )
        self._best_weight_RDC = self._heads.weight_RDC.detach().clone()
        self._best_bias_R1C = self._heads.bias_R1C.detach().clone()
        self._tried = (0, torch.empty(0))
        rows_by_seed = {
            seed: batch_rows(num_examples, settings.batch_size, settings.steps, seed).to(device)
            for seed in {key.seed for key in self.keys}
        }
        self._rows_SRB = torch.stack([rows_by_seed[key.seed] for key in self.keys], dim=1)

    def try_batch(self, step: int) -> list[BatchScore]:
        """Score the batch of update number ``step`` (from 1).

        Returns:
            Each head's loss and accuracy on its batch, before the update.
        """
        rows_RB = self._rows_SRB[step - 1]
        target_RB = self._targets["train"][rows_RB]
        logits_RBC = self._heads.logits(self._features["train"][rows_RB])
        losses_RB = nn.functional.cross_entropy(logits_RBC.flatten(0, 1), target_RB.flatten(), reduction="none")
        losses_R = losses_RB.view_as(target_RB).mean(dim=1)
        self._tried = (step, losses_R)
        num_correct_R = (logits_RBC.argmax(dim=-1) == target_RB).sum(dim=1).tolist()
        return [
            BatchScore(loss, num_correct / rows_RB.shape[1])
            for loss, num_correct in zip(losses_R.tolist(), num_correct_R, strict=True)
        ]

    def update(self) -> None:
        """Make the update of the batch tried last; a head whose loss is not finite keeps its weights."""
        step, losses_R = self._tried
        self._heads.update(losses_R, lr_factor(step, self._settings))

    def evaluate(self, split: Split) -> list[Evaluation]:
        """Score every head on a whole split."""
        with torch.inference_mode():
            return evaluate_logits(self._heads.logits(self._features[split]), self._targets[split])

    def keep_best(self, runs: Sequence[int]) -> None:
        """Remember the present weights of some heads as their best."""
        with torch.no_grad():
            self._best_weight_RDC[runs] = self._heads.weight_RDC[runs]
            self._best_bias_R1C[runs] = self._heads.bias_R1C[runs]

    def evaluate_best(self, split: Split) -> list[Evaluation]:
        """Score every head on a whole split with its best weights."""
        with torch.inference_mode():
            logits_RNC = linear(self._features[split], self._best_weight_RDC, self._best_bias_R1C)
            return evaluate_logits(logits_RNC, self._targets[split])

    def state(self) -> State:
        """Return the heads, their moments and their best weights."""
        return {"heads": self._heads.state(), "best": [self._best_weight_RDC, self._best_bias_R1C]}

    def load_state(self, state: State) -> None:
        """Become what ``state`` was taken of."""
        self._heads.load_state(state["heads"])
        with torch.no_grad():
            for kept, value in zip((self._best_weight_RDC, self._best_bias_R1C), state["best"], strict=True):
                kept.copy_(value)

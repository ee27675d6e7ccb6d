"""Live arms: backbone and head trained together, one run after the other.

Shapes: ``B`` batch, ``T`` tokens, ``N`` examples, ``C`` classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from worker.batches import Batch, batches_by_length, pad, split_batch
from worker.checkpoint_files import State
from worker.contract.plan import TrainingSettings
from worker.evaluate import Evaluation, evaluate_logits
from worker.lifecycle import uninterrupted
from worker.model import TextClassifier
from worker.schedule import batch_rows, lr_factor, parameter_groups, set_learning_rates
from worker.splits import Split
from worker.tokens import TokenizedTexts
from worker.traces import BatchScore, RunKey

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class LiveSplits:
    """What a live arm trains on and is scored on."""

    texts: Mapping[Split, TokenizedTexts]
    targets: Mapping[Split, Tensor]
    """``[N]`` of each split, on the CPU."""
    tokens_per_batch: int
    """Padded tokens of an evaluation batch at most."""


class LiveTrainer:
    """Trains one run's backbone and head.

    Args:
        key: The run: seed and learning rates.
        model: Untrained head on a pretrained backbone; trained in place.
        splits: Tokens and targets.
        settings: The shared conditions.
        accelerator: Places and wraps.
    """

    def __init__(
        self,
        key: RunKey,
        model: TextClassifier,
        splits: LiveSplits,
        settings: TrainingSettings,
        accelerator: "Accelerator",
    ) -> None:
        """Place model and optimizer, and put the order of examples down."""
        self.keys = (key,)
        self._texts = splits.texts
        self._targets = {split: target_N.to(accelerator.device) for split, target_N in splits.targets.items()}
        self._settings = settings
        self._accelerator = accelerator
        if key.backbone_lr is None:
            msg = "a live run has a backbone learning rate"
            raise AssertionError(msg)
        groups = [
            *parameter_groups(model.backbone, key.backbone_lr, settings.weight_decay),
            *parameter_groups(model.head, key.head_lr, settings.weight_decay),
        ]
        self._model: nn.Module
        self._model, self._optimizer = accelerator.prepare(model, torch.optim.AdamW(groups, fused=True))
        self._rows = batch_rows(len(splits.texts["train"]), settings.batch_size, settings.steps, key.seed)
        self._eval_batches = {
            split: [
                (batch.rows, batch.ids_BT.to(accelerator.device), batch.mask_BT.to(accelerator.device))
                for batch in batches_by_length(splits.texts[split], splits.tokens_per_batch)
            ]
            for split in ("validation", "test")
        }
        self._best: dict[str, Tensor] = {}
        self._tried = (0, True)
        torch.manual_seed(key.seed)
        self._randomness = _read_randomness(accelerator.device)

    def try_batch(self, step: int) -> list[BatchScore]:
        """Find loss and gradients of the batch of update number ``step`` (from 1).

        Returns:
            Loss and accuracy on the batch, before the update.
        """
        _set_randomness(self._randomness, self._accelerator.device)
        self._model.train()
        self._optimizer.zero_grad()
        rows = self._rows[step - 1].tolist()
        parts = [self._add_gradients(part, len(rows)) for part in self._split(rows)]
        loss, num_correct = torch.stack(parts).sum(dim=0).tolist()
        score = BatchScore(loss, num_correct / len(rows))
        if score.is_finite:
            self._accelerator.clip_grad_norm_(self._model.parameters(), self._settings.max_grad_norm)
        self._tried = (step, score.is_finite)
        return [score]

    def _split(self, rows: Sequence[int]) -> list[Batch]:
        """Return a batch in parts of similar length: that saves padding, and memory for activations.

        A GPU gets it whole: there a part takes as long as many tokens of padding.
        """
        texts = self._texts["train"]
        return split_batch(texts, rows) if self._accelerator.device.type == "cpu" else [pad(texts, rows)]

    def _add_gradients(self, part: Batch, batch_size: int) -> Tensor:
        """Add what a part of a batch contributes to the gradients.

        Returns:
            Its share of the batch's mean loss, and its number of correct examples.
        """
        device = self._accelerator.device
        target_B = self._targets["train"][part.rows.to(device)]
        logits_BC = self._model(part.ids_BT.to(device), part.mask_BT.to(device))
        loss = nn.functional.cross_entropy(logits_BC, target_B, reduction="sum") / batch_size
        self._accelerator.backward(loss)
        return torch.stack([loss.detach(), (logits_BC.argmax(dim=-1) == target_B).sum()])

    def update(self) -> None:
        """Make the update of the batch tried last, unless its loss is not finite."""
        step, is_finite = self._tried
        if is_finite:
            set_learning_rates(self._optimizer, lr_factor(step, self._settings))
            self._optimizer.step()
        self._randomness = _read_randomness(self._accelerator.device)

    def evaluate(self, split: Split) -> list[Evaluation]:
        """Score the model on a whole split, without dropout."""
        self._model.eval()
        with torch.inference_mode():
            logits = torch.cat([self._model(ids_BT, mask_BT) for _, ids_BT, mask_BT in self._eval_batches[split]])
        rows = torch.cat([rows for rows, _, _ in self._eval_batches[split]]).to(logits.device)
        logits_NC = torch.empty_like(logits)
        logits_NC[rows] = logits
        return evaluate_logits(logits_NC.unsqueeze(0), self._targets[split])

    def keep_best(self, _runs: Sequence[int]) -> None:
        """Remember the present weights, in host memory: one copy of the model, made once."""
        for name, value in self._weights():
            if name in self._best:
                self._best[name].copy_(value)
            else:
                self._best[name] = value.to("cpu", copy=True)

    def evaluate_best(self, split: Split) -> list[Evaluation]:
        """Score the model on a whole split with the weights remembered; the present ones are there again afterwards."""
        self._swap_best()
        try:
            return self.evaluate(split)
        finally:
            self._swap_best()

    def _swap_best(self) -> None:
        """Exchange the present weights with the remembered ones, tensor by tensor."""
        with uninterrupted(), torch.no_grad():
            for name, value in self._weights():
                present = value.to("cpu", copy=True)
                value.copy_(self._best[name])
                self._best[name] = present

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every parameter and buffer by one of its names: tied ones once."""
        for name, value in chain(self._model.named_parameters(), self._model.named_buffers()):
            yield name, value.detach()

    def state(self) -> State:
        """Return model, optimizer, best weights and the generators' state, as they were after the last update."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best,
            "randomness": self._randomness,
        }

    def load_state(self, state: State) -> None:
        """Become what ``state`` was taken of."""
        device = self._accelerator.device
        # Copies of all: what is kept would keep the checkpoint's file on the disk, as it is only mapped.
        moments = {
            index: {name: value.to(device if value.ndim else "cpu", copy=True) for name, value in of_one.items()}
            for index, of_one in state["optimizer"]["state"].items()
        }
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict({**state["optimizer"], "state": moments})
        self._best = {name: value.clone() for name, value in state["best"].items()}
        self._randomness = [value.clone() for value in state["randomness"]]

    @property
    def num_state_bytes(self) -> int:
        """Size of ``state`` once training goes on: weights, AdamW's two moments, and the best weights."""
        return 4 * sum(value.numel() * value.element_size() for value in self._model.parameters())


def _read_randomness(device: torch.device) -> list[Tensor]:
    """Return the state of the generators that dropout draws from: the CPU's, and the GPU's if one is used."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_randomness(states: Sequence[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)

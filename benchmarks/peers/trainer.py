"""``transformers.Trainer``, frozen and live: dynamic padding, and evaluation in its own loop."""

import tempfile
import time
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers import DataCollatorWithPadding, EvalPrediction, PrinterCallback, Trainer, TrainingArguments

from benchmarks.measurement import Bench, CurvePoint, Measurement
from benchmarks.peers.eval_batch import find_eval_batch
from benchmarks.peers.task import Task, load_task, longest_first
from benchmarks.works import Work
from worker.contract.arms import Mode


class _InOrder(Sampler[int]):
    """Yields given rows in their order."""

    def __init__(self, rows: list[int]) -> None:
        self._rows = rows

    def __iter__(self) -> Any:  # noqa: ANN401 - an iterator of int, which Sampler does not let say
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class _OrderedTrainer(Trainer):
    """A Trainer that sees the product's batches."""

    def __init__(self, rows: list[int], **arguments: Any) -> None:  # noqa: ANN401 - Trainer's own
        self._rows = rows
        super().__init__(**arguments)

    def _get_train_sampler(self, train_dataset: Any = None) -> _InOrder:  # noqa: ANN401, ARG002 - Trainer's signature
        return _InOrder(self._rows)


def train_with_trainer(bench: Bench, work: Work, mode: str) -> Measurement:
    """Train a frozen or live model with evaluation at step 0 and every ``eval_every`` steps.

    Returns:
        ``seconds`` from before tokenization to the last evaluation.
    """
    task = load_task(bench, work, Mode(mode))
    eval_batch_size = find_eval_batch(bench, work, task)
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(folder, task, eval_batch_size)
        began = time.perf_counter()
        trainer = _OrderedTrainer(
            task.rows.flatten().tolist(),
            model=task.model,
            args=arguments,
            train_dataset=task.encode(task.train),
            eval_dataset=longest_first(task.encode(task.validation)),
            data_collator=DataCollatorWithPadding(task.tokenizer),
            compute_metrics=_accuracy,
            optimizers=task.make_optimizer(),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        if task.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    curve = tuple(
        CurvePoint(step=int(row["step"]), accuracy=row["eval_accuracy"], loss=row["eval_loss"])
        for row in trainer.state.log_history
        if "eval_loss" in row
    )
    return Measurement(values={"seconds": seconds}, curve=curve, notes={"eval_batch_size": eval_batch_size})


def _arguments(folder: str, task: Task, eval_batch_size: int) -> TrainingArguments:
    settings = task.settings
    return TrainingArguments(
        output_dir=folder,
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=eval_batch_size,
        max_grad_norm=settings.max_grad_norm,
        eval_strategy="steps",
        eval_steps=settings.eval_every,
        eval_on_start=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=task.device.type == "cpu",
        remove_unused_columns=False,
    )


def _accuracy(prediction: EvalPrediction) -> dict[str, float]:
    logits: Any = prediction.predictions
    return {"accuracy": float(np.mean(logits.argmax(axis=-1) == prediction.label_ids))}

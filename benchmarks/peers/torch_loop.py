"""A bare PyTorch loop: no framework, nothing kept from one step to the next."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.measurement import Bench, CurvePoint, Measurement
from benchmarks.peers.eval_batch import find_eval_batch
from benchmarks.peers.task import Task, load_task, longest_first
from benchmarks.works import Work
from worker.contract.arms import Mode


def train_in_loop(bench: Bench, work: Work, mode: str) -> Measurement:
    """Train a frozen or live model, and score it at the product's steps.

    Returns:
        ``seconds`` from before tokenization to the last evaluation, and ``step_seconds`` of all steps alone.
    """
    task = load_task(bench, work, Mode(mode))
    eval_batch_size = find_eval_batch(bench, work, task)
    began = time.perf_counter()
    train, validation = task.encode(task.train), longest_first(task.encode(task.validation))
    optimizer, schedule = task.make_optimizer()
    curve = [_evaluate(task, validation, eval_batch_size, step=0)]
    step_seconds = 0.0
    for step, rows in enumerate(task.rows.tolist(), start=1):
        step_began = time.perf_counter()
        task.model.train()
        batch = task.collate([train[row] for row in rows])
        optimizer.zero_grad()
        task.model(**batch)["loss"].backward()
        nn.utils.clip_grad_norm_(task.model.parameters(), task.settings.max_grad_norm)
        optimizer.step()
        schedule.step()
        if task.device.type == "cuda":
            torch.cuda.synchronize()
        step_seconds += time.perf_counter() - step_began
        if task.settings.is_eval_step(step):
            curve.append(_evaluate(task, validation, eval_batch_size, step))
    seconds = time.perf_counter() - began
    return Measurement(
        values={"seconds": seconds, "step_seconds": step_seconds},
        curve=tuple(curve),
        notes={"eval_batch_size": eval_batch_size},
    )


def _evaluate(task: Task, encoded: Sequence[dict[str, Any]], batch_size: int, step: int) -> CurvePoint:
    task.model.eval()
    loss, num_correct = 0.0, 0
    with torch.inference_mode():
        for first in range(0, len(encoded), batch_size):
            batch = task.collate(encoded[first : first + batch_size])
            output = task.model(**batch)
            loss += output["loss"].item() * len(batch["labels"])
            num_correct += int((output["logits"].argmax(dim=-1) == batch["labels"]).sum())
    return CurvePoint(step=step, accuracy=num_correct / len(encoded), loss=loss / len(encoded))

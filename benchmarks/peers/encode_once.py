"""Encode once, then scikit-learn: the frozen arm that most people write, with a last accuracy and no curve."""

import time

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmarks.measurement import Bench, Measurement
from benchmarks.peers.eval_batch import find_eval_batch
from benchmarks.peers.task import Task, load_task
from benchmarks.works import Work
from worker.contract.arms import Mode
from worker.splits import Example

_MAX_ITERATIONS = 1000
"""The default of 100 ends before it has converged on these features."""


def fit_encoded(bench: Bench, work: Work) -> Measurement:
    """Encode train and validation texts once, and fit a logistic regression on their features.

    Returns:
        ``seconds`` from before tokenization to the validation accuracy.
    """
    task = load_task(bench, work, Mode.FROZEN)
    batch_size = find_eval_batch(bench, work, task)
    began = time.perf_counter()
    features = {name: _encode(task, getattr(task, name), batch_size).numpy() for name in ("train", "validation")}
    classifier = LogisticRegression(max_iter=_MAX_ITERATIONS)
    classifier.fit(features["train"], [example.target for example in task.train])
    accuracy = classifier.score(features["validation"], [example.target for example in task.validation])
    seconds = time.perf_counter() - began
    return Measurement(values={"seconds": seconds}, notes={"accuracy": float(accuracy), "batch_size": batch_size})


def _encode(task: Task, examples: list[Example], batch_size: int) -> Tensor:
    """Return standardised features, batched by length."""
    encoded = task.encode(examples)
    order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]["input_ids"]))
    features_ND = torch.empty(len(encoded), task.model.head.in_features)
    task.model.eval()
    with torch.inference_mode():
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            batch = task.collate([encoded[row] for row in rows])
            features_ND[rows] = task.model.encode(batch["input_ids"], batch["attention_mask"]).cpu()
    return features_ND

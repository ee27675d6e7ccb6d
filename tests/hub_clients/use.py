"""A process that uses a hub's model and data set through the libraries that read them.

``python use.py MODEL_ID MODEL_COMMIT LOCAL_FOLDER DATASET_ID DATASET_COMMIT``, one JSON document on standard output.
"""

import json
import sys
from typing import Any

import torch
from datasets import load_dataset
from huggingface_hub import snapshot_download
from transformers import AutoModel, AutoTokenizer

_TEXTS = ("Goal by the striker", "Shares after the merger report")


def mean_features(folder: str) -> list[list[float]]:
    """Return mean-pooled features of two texts, from a folder and nothing else."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    features = []
    for text in _TEXTS:
        with torch.no_grad():
            hidden_BTE = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        features.append(hidden_BTE.mean(dim=1)[0].tolist())
    return features


def use(model_id: str, model_commit: str, local_folder: str, dataset_id: str, dataset_commit: str) -> dict[str, Any]:
    """Use a model by branch and by commit, and a data set by commit."""
    snapshots = [snapshot_download(model_id, revision=revision) for revision in ("main", model_commit)]
    splits = load_dataset(dataset_id, revision=dataset_commit)
    return {
        "snapshots": snapshots,
        "features": mean_features(snapshots[1]),
        "local_features": mean_features(local_folder),
        "class_names": splits["train"].features["label"].names,
        "num_rows": {name: split.num_rows for name, split in splits.items()},
    }


if __name__ == "__main__":
    json.dump(use(*sys.argv[1:]), sys.stdout)

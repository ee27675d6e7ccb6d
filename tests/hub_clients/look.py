"""A process that asks a hub through huggingface_hub alone: descriptions, listings and refusals.

``python look.py MODEL_ID GATED_MODEL_ID DATASET_ID GRANTED_TOKEN``, one JSON document on standard output.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, HfFileSystem, snapshot_download
from huggingface_hub.errors import HfHubHTTPError

_OTHER_TOKEN = "hf_other"  # noqa: S105 - opens nothing


def look(model_id: str, gated_id: str, dataset_id: str, granted_token: str) -> dict[str, Any]:
    """Describe a model and a data set, and download the gated model with the token."""
    api = HfApi()
    model, dataset = api.model_info(model_id, files_metadata=True), api.dataset_info(dataset_id, revision="main")
    return {
        "model_sha": model.sha,
        "dataset_sha": dataset.sha,
        "is_gated": [bool(model.gated), bool(api.model_info(gated_id).gated)],
        "sizes": {sibling.rfilename: sibling.size for sibling in model.siblings or []},
        "top": sorted(entry.path for entry in api.list_repo_tree(dataset_id, repo_type="dataset")),
        "below": sorted(entry.path for entry in api.list_repo_tree(dataset_id, "data", repo_type="dataset")),
        "files": sorted(api.list_repo_files(dataset_id, repo_type="dataset")),
        "known_paths": [entry.path for entry in api.get_paths_info(model_id, ["config.json", "none.json"])],
        "part": HfFileSystem().read_block(f"datasets/{dataset_id}/data/train-00000-of-00001.parquet", 0, 4).decode(),
        # Refusals first: once a snapshot is in the cache, a refused client answers from there.
        "refusals": refusals(model_id, gated_id),
        "granted": sorted(path.name for path in Path(snapshot_download(gated_id, token=granted_token)).iterdir()),
    }


def refusals(model_id: str, gated_id: str) -> dict[str, str]:
    """Return the class of each refusal."""
    api = HfApi()
    attempts: dict[str, Callable[[], object]] = {
        "gated": lambda: snapshot_download(gated_id),
        "gated, token": lambda: snapshot_download(gated_id, token=_OTHER_TOKEN),
        "unknown": lambda: snapshot_download("acme/nothing"),
        "unknown, info": lambda: api.model_info("acme/nothing"),
        "unknown, token": lambda: api.model_info("acme/nothing", token=_OTHER_TOKEN),
        "unknown branch": lambda: snapshot_download(model_id, revision="nowhere"),
        "unknown branch, info": lambda: api.model_info(model_id, revision="nowhere"),
        "unknown commit": lambda: snapshot_download(model_id, revision="0" * 40),
        "unknown file": lambda: api.hf_hub_download(model_id, "none.json"),
    }
    return {name: _refusal(attempt) for name, attempt in attempts.items()}


def _refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except HfHubHTTPError as error:
        return f"{error.response.status_code} {type(error).__name__}"
    return "none"


if __name__ == "__main__":
    json.dump(look(*sys.argv[1:]), sys.stdout)

"""The hub: from a branch to a commit, and from a commit to files in the cache.

Only the prepare step talks to the hub; arms find what it fetched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from worker.contract.arms import COMMIT
from worker.contract.errors import HubUnreachableError
from worker.model_files import CODE_FILES, MODEL_FILES, remedy_for_weights

RepositoryKind = Literal["model", "dataset"]

CONFIG_FILE = "config.json"
"""Of a model: its architecture and sizes."""

NOT_MODEL_FILES = ("consolidated*", "*/*")
"""Left out all the same: weights in the form of another library, and subfolders with other formats."""

DATASET_FILES = (
    "*.parquet",
    "*.csv",
    "*.csv.gz",
    "*.tsv",
    "*.tsv.gz",
    "*.json",
    "*.jsonl",
    "*.jsonl.gz",
    "*.arrow",
    "README.md",
)
"""What is fetched of a data set repository: tables and their description, never code."""


class HubFailure(Exception):  # noqa: N818 - internal, turned into a DataError or BackboneError by the caller
    """The hub did not give what was asked."""

    def __init__(self, problem: str, remedy: str) -> None:
        """Keep what came back apart from what to do."""
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def resolve_revision(repository: str, revision: str | None, kind: RepositoryKind) -> str:
    """Return the commit that a branch or tag (default: the main branch) points at now; a commit is its own answer.

    Raises:
        HubFailure: Unknown repository or revision, or one that this account may not read.
        HubUnreachableError: No answer.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415 - not needed for local sources

    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    with _explaining(repository, revision, kind):
        return str(HfApi().repo_info(repository, revision=revision, repo_type=kind).sha)


def fetch_model(repository: str, commit: str, cache: Path, *, with_code: bool = False) -> Path:
    """Bring a model repository's files into the cache, or find them there.

    Args:
        repository: ``owner/name``.
        commit: 40 hex digits.
        cache: Folder shared by all workers.
        with_code: Fetch the code that comes with the model as well.

    Returns:
        The folder of this commit.

    Raises:
        HubFailure: It may not be read, or nothing safe to load is published.
        HubUnreachableError: The download failed.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415

    folder = _snapshot(repository, commit, cache, "model", with_code=with_code)
    if not any(folder.glob("*.safetensors")):
        with _explaining(repository, commit, "model"):
            names = HfApi().list_repo_files(repository, revision=commit)
        raise HubFailure(
            f"{repository}@{commit} publishes no safetensors weights; pickle files are never loaded.",
            remedy_for_weights(names, "./"),
        )
    return folder


def fetch_config(repository: str, commit: str, folder: Path) -> None:
    """Bring nothing but a model's configuration into a folder: enough to know how large it is.

    Raises:
        HubFailure: It may not be read, or there is none.
        HubUnreachableError: The download failed.
    """
    from huggingface_hub import hf_hub_download  # noqa: PLC0415
    from huggingface_hub.errors import EntryNotFoundError  # noqa: PLC0415

    with _explaining(repository, commit, "model"):
        try:
            hf_hub_download(repository, CONFIG_FILE, revision=commit, local_dir=folder)
        except EntryNotFoundError as error:
            raise HubFailure(
                f"{repository}@{commit} has no {CONFIG_FILE}.", "Name a model that save_pretrained wrote."
            ) from error


def fetch_dataset(repository: str, commit: str, cache: Path) -> Path:
    """Bring a data set repository's files into the cache, or find them there.

    The folder is then loaded as a local one: ``datasets`` itself, when the hub does not answer, takes whatever version
    it built last, whatever commit it is asked for (datasets 5.2, ``load.py``).

    Returns:
        The folder of this commit.

    Raises:
        HubFailure: It is gated.
        HubUnreachableError: The download failed.
    """
    return _snapshot(repository, commit, cache, "dataset")


def _snapshot(
    repository: str,
    commit: str,
    cache: Path,
    kind: RepositoryKind,
    *,
    with_code: bool = False,
    only_local: bool = False,
) -> Path:
    """Return the folder with a commit's files, of the kinds that are loaded."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    patterns = [*MODEL_FILES, CODE_FILES] if with_code else list(MODEL_FILES)
    with _explaining(repository, commit, kind):
        try:
            folder = snapshot_download(
                repository,
                revision=commit,
                repo_type=kind,
                cache_dir=cache / "hub",
                allow_patterns=patterns if kind == "model" else list(DATASET_FILES),
                ignore_patterns=list(NOT_MODEL_FILES) if kind == "model" else None,
                local_files_only=only_local,
            )
        except LocalEntryNotFoundError as error:
            if not only_local:
                raise
            raise HubFailure(
                f"{repository}@{commit} is not in the cache {cache}.", "Run the prepare step with this cache."
            ) from error
    return Path(folder)


@contextmanager
def _explaining(repository: str, revision: str | None, kind: RepositoryKind) -> Iterator[None]:
    """Turn what the hub's client raises into what a person can do about it."""
    from httpx2 import HTTPError  # noqa: PLC0415
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise HubFailure(
            f"{repository} is gated, and this account has no access.",
            "Accept its terms on its hub page, then set HF_TOKEN to a token of that account.",
        ) from error
    except RevisionNotFoundError as error:
        raise HubFailure(
            f"{repository} has no revision {revision!r}.", "Name a branch, tag or commit it has."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise HubFailure(
            f"The hub has no {kind} {repository!r}, or it is private.",
            "Check the spelling; for a private one set HF_TOKEN; for a local folder or file write ./ in front.",
        ) from error
    except HfHubHTTPError as error:
        if error.response.status_code not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise _unreachable(f"{repository}@{revision or 'main'}", error) from error
        raise HubFailure(
            f"The hub refuses to let this account read {repository}: {error.response.status_code} "
            f"{error.response.reason_phrase}.",
            "Set HF_TOKEN to a valid token that may read it; public repositories need none.",
        ) from error
    except (OfflineModeIsEnabled, HTTPError, OSError) as error:
        raise _unreachable(f"{repository}@{revision or 'main'}", error) from error


def _unreachable(name: str, error: Exception) -> HubUnreachableError:
    return HubUnreachableError(
        f"{name} could not be had from the hub: {error}.",
        remedy="Check the network, HF_ENDPOINT, HF_HUB_OFFLINE and the free space of the cache; a download goes on "
        "where it stopped, and a local folder needs no hub.",
    )


def snapshot_folder(repository: str, commit: str, cache: Path) -> Path:
    """Return the folder of a model's commit that was fetched before, without asking the hub.

    Raises:
        HubFailure: It was not fetched into this cache.
    """
    return _snapshot(repository, commit, cache, "model", only_local=True)

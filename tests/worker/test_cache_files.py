"""What killed writers left in the cache: taken away once it is old, by every prepare step, and by several at once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.cache_files import remove_leftovers
from worker.contract.config import Execution, PrepareConfig
from worker.contract.plan import LANGUAGE_NAMES, DataSpec
from worker.prepare import prepare

FILES = ("data/d/.train.jsonl.x.part", "tokens/.t.part", "features/f/.train.x.part", "backbones/requests/.r.part")
FOLDERS = ("backbones/.making-x", "remote/.fetching-x")


def leave(cache: Path, *, is_old: bool) -> list[Path]:
    """Put what killed writers leave into a cache."""
    left = [cache / name for name in (*FILES, *(f"{folder}/part" for folder in FOLDERS))]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    for name in (*FILES, *FOLDERS) if is_old else ():
        os.utime(cache / name, (0, 0))
    return left


@pytest.mark.parametrize("is_old", [True, False])
def test_a_prepare_step_takes_away_what_is_old_and_nothing_else(tmp_path: Path, *, is_old: bool) -> None:
    cache = tmp_path / "cache"
    left = leave(cache, is_old=is_old)
    kept = [cache / name for name in ("tokens/t.safetensors", "remote/stamp/file", "backbones/made/config.json")]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (0, 0))
        os.utime(path.parent, (0, 0))
    data = DataSpec(source=LANGUAGE_NAMES, train_examples=8, validation_examples=8, test_examples=8)
    execution = Execution(results=str(tmp_path / "results"), cache=str(cache))
    config = PrepareConfig(comparison="trial", name="p", answer="p.json", data=data, execution=execution)

    prepare(config.model_copy(update={"only_look": True}))
    assert all(path.exists() for path in left)
    prepare(config)

    assert [path.exists() for path in left] == [not is_old] * len(left)
    assert all(path.exists() for path in kept)


def test_what_another_process_takes_away_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "backbones" / ".making-x"
    left.mkdir(parents=True)
    found = Path.glob

    def glob(folder: Path, pattern: str) -> list[Path]:
        paths = list(found(folder, pattern))
        if left.exists():
            left.rmdir()
        return paths

    monkeypatch.setattr(Path, "glob", glob)

    remove_leftovers(tmp_path)
    assert not left.exists()


def test_several_may_clear_one_cache_at_once(tmp_path: Path) -> None:
    left = leave(tmp_path, is_old=True)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(remove_leftovers, [tmp_path] * 16))

    assert not any(path.exists() for path in left)

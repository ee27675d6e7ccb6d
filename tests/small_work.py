"""A work of the benchmarks that is small enough for a test, and prepared."""

from pathlib import Path

from benchmarks.measurement import Bench
from benchmarks.work_files import prepare
from benchmarks.works import DecoderShape, DrawnTexts, Work
from worker.contract.plan import TrainingSettings

SMALL_SHAPE = DecoderShape(num_layers=2, hidden_size=32, num_heads=4, num_kv_heads=2, mlp_size=64, vocabulary_size=600)

SMALL_WORK = Work(
    name="small",
    about="Two layers of width 32.",
    data=DrawnTexts(num_train=60, num_validation=24, median_tokens=8),
    backbone=SMALL_SHAPE,
    training=TrainingSettings(
        steps=6, batch_size=10, max_tokens=16, warmup_steps=2, head_lr=(1e-2,), backbone_lr=(1e-3,), eval_every=2
    ),
)


def prepared_bench(folder: Path) -> Bench:
    """Return a bench in a folder that holds the small work."""
    bench = Bench(folder, "cpu")
    prepare(bench, SMALL_WORK)
    return bench

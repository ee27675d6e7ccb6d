"""Single updates of a trainer, as the training loop makes them."""

from worker.traces import BatchScore
from worker.trainer import Trainer


def make_update(trainer: Trainer, step: int) -> list[BatchScore]:
    """Make update number ``step``, and return what it found."""
    scores = trainer.try_batch(step)
    trainer.update()
    return scores

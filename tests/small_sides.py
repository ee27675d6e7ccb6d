"""Sides of a comparison that need no training, for tests of what measures them."""

from benchmarks.measurement import Bench, CurvePoint, Measurement


def take(_bench: Bench, seconds: float, loss: float = 0.5) -> Measurement:
    """Say that something took so long."""
    curve = (CurvePoint(step=0, accuracy=0.5, loss=loss),)
    print("what a side prints is for its log")  # noqa: T201 - a test looks for it
    return Measurement(values={"seconds": seconds}, curve=curve)


def fail(_bench: Bench) -> Measurement:
    """Fail."""
    raise RuntimeError("this side fails")

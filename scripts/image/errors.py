"""What goes wrong while an image is made, and what to do about it."""


class ImageError(Exception):
    """An image could not be built, kept or sent.

    Args:
        problem: What was tried, on what, and what came back.
        remedy: What the reader can do next.
    """

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")

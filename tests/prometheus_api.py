"""Prometheus as a dashboard asks it: a question at one moment, and the points of curves in what it answers."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

Data = dict[str, Any]
"""What stands under ``data`` in an answer of the HTTP API."""

Point = tuple[str, int]
"""An arm, and a step of its curve."""

ANSWER_SECONDS = 30.0


class PrometheusError(Exception):
    """Prometheus gave no answer; the message is what a person should read."""


@dataclass(frozen=True)
class PrometheusApi:
    """A Prometheus that runs somewhere."""

    address: str

    def query(self, expression: str, at: float | None = None) -> Data:
        """Ask at one moment, by default now.

        Args:
            expression: PromQL.
            at: Unix time, seconds.

        Raises:
            PrometheusError: It is not there, or does not understand the question.
        """
        form = {"query": expression, "time": str(time.time() if at is None else at)}
        try:
            # No proxy stands between this machine and itself, whatever the environment says.
            answer = httpx.post(f"{self.address}/api/v1/query", data=form, timeout=ANSWER_SECONDS, trust_env=False)
            document = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise PrometheusError(
                f"No Prometheus answers at {self.address}: {error}. Start one there, or name another address."
            ) from error
        if document.get("status") != "success":
            raise PrometheusError(f"{self.address} refuses {expression!r}: {document.get('error')}.")
        return dict(document["data"])


def read_rows(data: Data) -> list[tuple[Mapping[str, str], float]]:
    """Return labels and value of every series of an instant answer."""
    return [(row["metric"], float(row["value"][1])) for row in data["result"]]


def read_points(data: Data) -> dict[Point, float]:
    """Return the points of curves by arm and step.

    Raises:
        AssertionError: A point is there twice.
    """
    rows = [((labels["arm"], int(labels["step"])), value) for labels, value in read_rows(data)]
    twice = [point for point, count in Counter(point for point, _ in rows).items() if count > 1]
    assert not twice, f"{len(twice)} points are there twice, such as {twice[0]}"
    return dict(rows)

"""Fixtures that tests of several packages share."""

from collections.abc import Iterator

import pytest

from hub_server import HubServer


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """Return a running, empty hub."""
    with HubServer() as server:
        yield server

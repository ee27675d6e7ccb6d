"""A deployment belongs to the release that serves it: no other may take its runs."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from flows.server import PrefectServerError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

Register = Callable[[str | None], "SyncPrefectClient"]


@pytest.fixture
def register(prefect_server: str) -> Iterator[Register]:  # noqa: ARG001 - its settings are in effect
    """Register the deployment as a release or a laptop would, and give the client."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - with the server's settings

    from flows.deployment import FULL_NAME, owner_tags  # noqa: PLC0415
    from flows.prefect_plugin import NAME  # noqa: PLC0415

    with get_client(sync_client=True) as client:

        def register(release: str | None) -> "SyncPrefectClient":
            flow = client.create_flow_from_name(NAME)
            client.create_deployment(flow_id=flow, name=NAME, tags=owner_tags(release))
            return client

        yield register
        client.delete_deployment(client.read_deployment_by_name(FULL_NAME).id)


@pytest.mark.parametrize("other", ["science/bench", None], ids=["a release", "a laptop"])
def test_what_a_release_serves_is_refused_to_others(register: Register, other: str | None) -> None:
    from flows.deployment import check_owner  # noqa: PLC0415

    client = register("vision/freeze-bench")

    with pytest.raises(PrefectServerError, match="belongs to the release vision/freeze-bench") as caught:
        check_owner(client, other)

    assert "prefect deployment delete compare-backbones/compare-backbones" in caught.value.remedy


@pytest.mark.parametrize("before", ["vision/freeze-bench", None], ids=["itself", "a laptop"])
def test_a_release_takes_over_from_itself_and_from_a_laptop(register: Register, before: str | None) -> None:
    from flows.deployment import check_owner  # noqa: PLC0415

    check_owner(register(before), "vision/freeze-bench")

"""Flow runs on Prefect's server: which there are, and which comparison each one is about."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from worker.contract.records import slug

UNFINISHED = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING)
"""The states that a flow run leaves again. The others are final."""

_PAGE_SIZE = 200  # no more come at once. Source: prefect 3.8.8, PREFECT_API_DEFAULT_LIMIT


def read_flow_runs(client: SyncPrefectClient, wanted: FlowRunFilter) -> list[FlowRun]:
    """Read all flow runs that a filter lets through, however many they are."""
    return list(_pages(client, wanted))


def _pages(client: SyncPrefectClient, wanted: FlowRunFilter) -> Iterator[FlowRun]:
    offset = 0
    while True:
        page = client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=_PAGE_SIZE, offset=offset)
        yield from page
        if len(page) < _PAGE_SIZE:
            return
        offset += _PAGE_SIZE


def filter_flow_runs(
    states: Iterable[StateType], *, deployment: UUID | None = None, ids: Iterable[UUID] | None = None
) -> FlowRunFilter:
    """Return the filter for flow runs in one of some states.

    Args:
        states: The states.
        deployment: Whose flow runs; anybody's if None.
        ids: Which flow runs; any if None.
    """
    wanted: dict[str, object] = {"state": {"type": {"any_": list(states)}}}
    if deployment is not None:
        wanted["deployment_id"] = {"any_": [deployment]}
    if ids is not None:
        wanted["id"] = {"any_": list(ids)}
    return FlowRunFilter.model_validate(wanted)


def has_other_run(client: SyncPrefectClient, comparison: str, flow_run: UUID) -> bool:
    """Whether an unfinished flow run is about a comparison, beside one that is known."""
    unfinished = read_flow_runs(client, filter_flow_runs(UNFINISHED))
    return any(run.id != flow_run and comparison_of(run) == comparison for run in unfinished)


def comparison_of(flow_run: FlowRun) -> str | None:
    """Return the comparison that a flow run is about; None if its parameters name no plan, and it can run none."""
    plan = (flow_run.parameters or {}).get("plan")
    name = plan.get("name") if isinstance(plan, dict) else None
    return slug(name) or None if isinstance(name, str) else None

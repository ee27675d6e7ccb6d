"""``freeze-bench submit``: starts a run of the deployment with a plan, and follows it."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import PurePosixPath
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.utilities.urls import url_for
from rich.console import Console

from flows.compare import print_standings
from flows.comparison import Comparison
from flows.deployment import Deployment, check_paths, find_deployment, is_local, plan_parameters
from flows.report import COMPARISON_FILE
from flows.server import PrefectServerError, require_server
from flows.watch import Watch
from worker.contract.errors import ArmsFailedError, ConfigError, DataError, FreezeBenchError, ResultError, StoreError
from worker.contract.patience import LOOK_PATIENCE_SECONDS
from worker.contract.plan import Plan
from worker.contract.store import ResultsStore

POLL_SECONDS = 1.0
"""Between looks at a flow run that is followed."""

_FAILED = "Flow run encountered an exception: "
"""What Prefect puts before the type and the words of the error that ended a flow. Source: prefect 3.8.8, states."""


class FlowRunError(FreezeBenchError):
    """A flow run that was followed has ended without a comparison."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A run of the deployment that was started."""

    plan: Plan
    deployment: Deployment
    flow_run: UUID
    url: str
    """Of the flow run in the Prefect UI."""


def submit_plan(plan: Plan, console: Console, *, fresh: bool, shared_paths: bool) -> Submission:
    """Start a run of the deployment.

    Args:
        plan: What to compare.
        console: Told what was started, and where its results will be.
        fresh: Make results again that are in the store already.
        shared_paths: The machine that serves the deployment sees the same files under the plan's paths.

    Raises:
        ConfigError: The plan names files that the run would not see.
        PrefectServerError: No server is in use, it does not answer, or it does not have the deployment.
    """
    url = require_server()
    with get_client(sync_client=True) as client, _explaining_outages(url):
        deployment = find_deployment(client)
        if not shared_paths:
            check_paths(plan, deployment)
        parameters = plan_parameters(plan, fresh=fresh)
        flow_run = _create_flow_run(client, deployment, plan.name, parameters)
    submission = Submission(plan, deployment, flow_run, url_for("flow-run", obj_id=flow_run) or str(flow_run))
    console.print(f"Submitted {plan.name}: {submission.url}", soft_wrap=True)
    if deployment.results:
        console.print(f"Results: {deployment.results}/{plan.comparison} on {deployment.host}", soft_wrap=True)
    if not deployment.is_served:
        console.print("Nobody serves the deployment right now: the run starts when `freeze-bench serve` does.")
    return submission


def follow(submission: Submission, console: Console) -> None:
    """Show how a run goes on until it has ended: its arms where their results can be read, its state otherwise.

    Raises:
        ArmsFailedError: Some arms have no result.
        ConfigError: The plan or its data cannot be used.
        FlowRunError: The run was cancelled, crashed, or failed otherwise.
        PrefectServerError: The server stayed away for minutes; the run goes on.
    """
    store, plan = _open_store(submission.deployment, console), submission.plan
    watch: AbstractContextManager[object] = nullcontext()
    if store is not None:
        watch = Watch(store, plan, console, on_error=console.print, flow_run=str(submission.flow_run))
    with watch, get_client(sync_client=True) as client, _explaining_outages(str(client.api_url)):
        state = _wait_for_end(client, submission, console)
    error = _explain_end(state, submission)
    if store and (error is None or isinstance(error, ArmsFailedError)):
        _show_comparison(store, plan, console)
    if error is not None:
        raise error


def _open_store(deployment: Deployment, console: Console) -> ResultsStore | None:
    """Return the results store that the run writes to; None if it cannot be read from here."""
    results = deployment.results
    if not results or (is_local(results) and not deployment.is_here):
        return None
    try:
        return ResultsStore(results, LOOK_PATIENCE_SECONDS)
    except ConfigError as error:
        console.print(f"Arms cannot be shown here: {error}", soft_wrap=True)
        return None


def _show_comparison(store: ResultsStore, plan: Plan, console: Console) -> None:
    """Print what has come out; how the run ended does not depend on whether that can be read from here."""
    try:
        comparison = store.read_record(PurePosixPath(plan.comparison, COMPARISON_FILE), Comparison)
    except (ResultError, StoreError) as error:
        console.print(f"The comparison cannot be shown: {error}", soft_wrap=True)
        return
    if comparison is not None:
        print_standings(comparison, store, console)


def _create_flow_run(
    client: SyncPrefectClient, deployment: Deployment, name: str, parameters: dict[str, object]
) -> UUID:
    try:
        return client.create_flow_run_from_deployment(deployment.id, name=name, parameters=parameters).id
    except PrefectHTTPStatusError as error:
        if error.response.is_server_error:
            raise
        raise PrefectServerError(
            f"The deployment on {client.api_url} does not take this plan: {error.response.text[:500]}.",
            remedy=f"Serve it on {deployment.host} with the version of freeze-bench that submits.",
        ) from error


def _wait_for_end(client: SyncPrefectClient, submission: Submission, console: Console) -> State[object]:
    shown = ""
    while True:
        try:
            state = client.read_flow_run(submission.flow_run).state
        except ObjectNotFound as error:
            raise FlowRunError(
                f"The run of {submission.plan.name} is no longer on the Prefect server: it was deleted there.",
                remedy="What is done is kept: submit the plan again to go on.",
            ) from error
        if state is not None and state.name != shown:
            shown = str(state.name)
            console.print(f"{submission.plan.name}: {shown}", markup=False, highlight=False)
        if state is not None and state.is_final():
            return state
        time.sleep(POLL_SECONDS)


@contextmanager
def _explaining_outages(url: str) -> Iterator[None]:
    """Say in one message that the server is away, after the client has tried for as long as it is told to."""
    try:
        yield
    except httpx.HTTPError as error:
        raise PrefectServerError(
            f"The Prefect server {url} does not answer any more: {error}.",
            remedy="What was submitted goes on without it; look again when it is back.",
        ) from error


def _explain_end(state: State[object], submission: Submission) -> FreezeBenchError | None:
    """Return the error that a final state stands for; None if the comparison is complete."""
    if state.is_completed():
        return None
    remedy = f"Its log: {submission.url}"
    kind, separator, words = (state.message or "").removeprefix(_FAILED).partition(": ")
    if state.is_failed() and separator:
        forms: list[type[FreezeBenchError]] = [ArmsFailedError, *_with_descendants(ConfigError), DataError]
        for form in forms:
            if kind == form.__name__:
                return form(words, remedy=remedy)
    problem = f"The run of {submission.plan.name} ended as {state.name}: {state.message}"
    return FlowRunError(problem, remedy=f"{remedy}. What is done is kept: submit the plan again to go on.")


def _with_descendants(form: type[FreezeBenchError]) -> list[type[FreezeBenchError]]:
    return [form, *(each for child in form.__subclasses__() for each in _with_descendants(child))]

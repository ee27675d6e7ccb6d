"""Following a flow run that has ended, where Prefect or the results store cannot say all of it."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from rich.console import Console

from s3_server import S3Server
from worker.contract.errors import ArmsFailedError, FreezeBenchError
from worker.contract.plan import Plan

FAILED = "Flow run encountered an exception: ArmsFailedError: 1 of 2 arms lack results."


@pytest.fixture
def follow_ended(
    prefect_server: str, make_plan: Callable[..., Plan]
) -> Callable[..., tuple[FreezeBenchError | None, str]]:
    """Follow a run that ended in a state, on another machine; return the error, and what was said."""
    assert prefect_server
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - seconds to import
    from prefect.client.schemas.objects import State  # noqa: PLC0415
    from prefect.states import Completed, Failed  # noqa: PLC0415

    from flows.deployment import Deployment  # noqa: PLC0415
    from flows.flow import compare_backbones  # noqa: PLC0415
    from flows.submit import Submission, follow  # noqa: PLC0415

    def run(
        results: str, failure: str | None = None, flow_run: UUID | None = None
    ) -> tuple[FreezeBenchError | None, str]:
        state: State[object] = Failed(message=failure) if failure else Completed()
        with get_client(sync_client=True) as client:
            ended = client.create_flow_run(compare_backbones, state=state)
        deployment = Deployment(id=uuid4(), host="gpu-1", results=results, is_served=True)
        submission = Submission(make_plan("Frozen A", "Live B"), deployment, flow_run or ended.id, "http://run")
        console = Console(file=StringIO(), width=200)
        error = None
        try:
            follow(submission, console)
        except FreezeBenchError as caught:
            error = caught
        return error, console.file.getvalue()  # type: ignore[attr-defined] # a StringIO

    return run


Follow = Callable[..., tuple[FreezeBenchError | None, str]]


def test_why_a_run_failed_is_told_although_its_store_is_away(
    follow_ended: Follow, s3_url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.submit.LOOK_PATIENCE_SECONDS", 0.2)
    s3_server.cut()
    try:
        error, said = follow_ended(s3_url, FAILED)
    finally:
        s3_server.mend()

    assert isinstance(error, ArmsFailedError)
    assert error.problem == "1 of 2 arms lack results."
    assert "The comparison cannot be shown: " in said


def test_a_store_that_cannot_be_opened_here_does_not_hide_how_the_run_ends(follow_ended: Follow) -> None:
    error, said = follow_ended("xx://results")

    assert error is None
    assert "Arms cannot be shown here: The results store 'xx://results' cannot be opened" in said
    assert "First Try: Completed" in said


@pytest.mark.parametrize("form", ["file://{}", "local://{}", "{}"])
def test_a_folder_of_another_machine_is_not_looked_for_on_this_one(
    follow_ended: Follow, tmp_path: Path, form: str
) -> None:
    (tmp_path / "first-try").mkdir()
    (tmp_path / "first-try" / "comparison.json").write_text("torn", "utf-8")

    error, said = follow_ended(form.format(tmp_path))

    assert error is None
    assert "The comparison cannot be shown" not in said


def test_a_run_that_was_deleted_is_one_message(follow_ended: Follow) -> None:
    error, _ = follow_ended("xx://results", flow_run=uuid4())

    assert error is not None
    assert error.problem == "The run of First Try is no longer on the Prefect server: it was deleted there."

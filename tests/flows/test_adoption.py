"""What becomes of a Job that has the name of the one that is to be made."""

from typing import Any

import pytest

from flows.adoption import Adoption, judge

FLOW_RUN = "11111111-0000-0000-0000-000000000000"


def job(
    *, document: str = "same", flow_run: str = FLOW_RUN, condition: str | None = None, deleted: bool = False
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": "fb-demo-frozen-qwen3-0a1b2c3d",
        "annotations": {"freeze-bench/document-sha256": document, "freeze-bench/flow-run": flow_run},
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    conditions = [{"type": condition, "status": "True"}] if condition else []
    return {"metadata": metadata, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (job(), Adoption.ADOPT),
        (job(flow_run="another"), Adoption.ADOPT),
        (job(condition="Suspended"), Adoption.ADOPT),
        (job(condition="SuccessCriteriaMet"), Adoption.ADOPT),
        (job(condition="FailureTarget"), Adoption.ADOPT),
        (job(document="other"), Adoption.REFUSE),
        (job(document="other", flow_run="another"), Adoption.REFUSE),
        (job(condition="Complete"), Adoption.ADOPT),
        (job(condition="Failed"), Adoption.REPLACE),
        (job(condition="Complete", flow_run="another"), Adoption.REPLACE),
        (job(condition="Failed", flow_run="another"), Adoption.REPLACE),
        (job(condition="Complete", document="other"), Adoption.REPLACE),
        (job(condition="Failed", document="other"), Adoption.REPLACE),
        (job(deleted=True), Adoption.WAIT),
        (job(deleted=True, document="other"), Adoption.WAIT),
        (job(deleted=True, condition="Failed"), Adoption.WAIT),
    ],
)
def test_a_job_of_the_same_name_is_judged_by_its_document_its_flow_run_and_its_end(
    found: dict[str, Any], expected: Adoption
) -> None:
    assert judge(found, job()) is expected


def test_a_job_that_somebody_made_by_hand_is_left_alone() -> None:
    found = {"metadata": {"name": "fb-demo-frozen-qwen3-0a1b2c3d"}}

    assert judge(found, job()) is Adoption.REFUSE

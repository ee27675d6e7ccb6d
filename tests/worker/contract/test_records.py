"""The form that every contract type shares: closed, frozen, and the same after a trip through JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from estimates import make_estimate
from worker.contract import results
from worker.contract.arms import Arm, BackboneSpec, Mode
from worker.contract.config import (
    Execution,
    PrepareConfig,
    PreparedBackbone,
    PreparedData,
    RunConfig,
    RunIdentity,
    SplitSizes,
)
from worker.contract.estimate import BackboneEstimates, EstimateRequest, Machine
from worker.contract.lease import LeaseHolder
from worker.contract.plan import DataSpec, Plan, TrainingSettings
from worker.contract.records import MAX_SLUG_LENGTH, Record, canonical_json, content_hash, slug

SPEC = BackboneSpec(source="acme/base", revision="main")
ARM = Arm(label="Live base", backbone=SPEC, mode=Mode.LIVE)
TRAINING = TrainingSettings(head_lr=(0.01, 0.03), backbone_lr=(2e-5,))
SIZES = SplitSizes(train=8, validation=4, test=4)
DATA = PreparedData(
    source="news.csv",
    revision="b" * 64,
    digest="d" * 64,
    classes=("no", "yes"),
    num_examples=SIZES,
    num_train_available=9,
    num_duplicates_dropped=1,
    num_conflicts_dropped=2,
    majority_accuracy=0.5,
)
BACKBONE = PreparedBackbone(kind="hub", source="acme/base", revision="c" * 40, model_type="llama")
EXECUTION = Execution(results="out", cache="cache")
IDENTITY = RunIdentity(
    mode=Mode.LIVE, backbone_revision=BACKBONE.revision, data_digest=DATA.digest, training=TRAINING, seed=3
)
SCORE = results.Score(step=4, accuracy=0.75, loss=0.6)
CANDIDATE = results.Candidate(head_lr=0.01, backbone_lr=2e-5, last=SCORE)
PROOF = results.BackboneProof(
    weights_hash_before="1" * 64,
    weights_hash_after="2" * 64,
    num_parameters=10,
    num_trained_parameters=12,
)
PROGRESS = results.Progress(started_at=1.0, updated_at=2.0, num_updates=3, num_planned=4)
FAILURE = results.Failure(exit_code=44, problem="It diverged.", remedy="Lower it.")
HOLDER = LeaseHolder(token="0" * 32, host="here", process=7)
ESTIMATE = make_estimate()
REQUEST = EstimateRequest(modes=(Mode.FROZEN, Mode.LIVE), seeds=(3, 4), training=TRAINING)
MACHINE = Machine(device="cuda", name="GPU", memory_bytes=80 * 2**30, flops_per_second=5e13)
RECORDS: list[Record] = [
    ESTIMATE,
    ESTIMATE.memory,
    ESTIMATE.flops,
    ESTIMATE.largest_batch,
    REQUEST,
    MACHINE,
    BackboneEstimates(machine=MACHINE, arms=(ESTIMATE,)),
    HOLDER,
    SPEC,
    ARM,
    TRAINING,
    SIZES,
    DATA,
    BACKBONE,
    EXECUTION,
    IDENTITY,
    SCORE,
    CANDIDATE,
    PROOF,
    FAILURE,
    PROGRESS,
    DataSpec(source="acme/news", revision="main", subset="en"),
    Plan(name="Trial", data=DataSpec(source="news.csv"), arms=(ARM,)),
    RunConfig(
        comparison="trial",
        arm=ARM,
        seeds=(3, 4),
        data=DATA,
        backbone=BACKBONE,
        training=TRAINING,
        execution=EXECUTION,
    ),
    PrepareConfig(
        comparison="trial",
        name="prepare-base",
        answer="trial/base.json",
        data=DataSpec(source="news.csv"),
        backbone=SPEC,
        prepared_data=DATA,
        estimate=REQUEST,
        execution=EXECUTION,
    ),
    results.EvalPoint(step=1, validation_accuracy=0.5, validation_loss=0.7, train_accuracy=0.25, train_loss=1.5),
    results.Prediction(split="test", example="0123456789abcdef", target=1, last=0, best=1),
    results.RunResult(
        address=IDENTITY.address,
        identity=IDENTITY,
        comparison="trial",
        arm=ARM,
        backbone=BACKBONE,
        data_source=DATA.source,
        data_revision=DATA.revision,
        classes=DATA.classes,
        num_examples=SIZES,
        num_truncated_texts=1,
        chosen=CANDIDATE,
        candidates=(CANDIDATE, results.Candidate(head_lr=10, backbone_lr=2e-5, last=None, diverged_at_step=7)),
        start=SCORE,
        best=SCORE,
        last=SCORE,
        test_best=SCORE,
        test_last=SCORE,
        proof=PROOF,
        device="cpu",
        num_threads=2,
        tokens_per_batch=4096,
        versions={"torch": "2"},
        image=None,
        curve_sha256="3" * 64,
        predictions_sha256="4" * 64,
    ),
    results.Attempt(number=1, started_at="2026-01-01T00:00:00.000+00:00", host="here", seconds_by_phase={"x": 1.5}),
    results.ArmStatus(
        state=results.ArmState.FAILED, flow_run="f", seeds=(3, 4), reused_seeds=(3,), updated_at=1.5, failure=FAILURE
    ),
]


def name_of(record: Record) -> str:
    return type(record).__name__


def test_every_record_of_the_contract_is_tried_here() -> None:
    found = {form for form in Record.__subclasses__() if form.__module__.startswith("worker.contract.")}

    assert {type(record) for record in RECORDS} == found


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_record_is_read_back_from_its_own_document(record: Record) -> None:
    assert type(record).model_validate_json(record.model_dump_json()) == record
    assert type(record).model_validate_json(canonical_json(record.model_dump(mode="json"))) == record


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_an_unknown_key_is_refused(record: Record) -> None:
    document = {**record.model_dump(mode="json"), "unheard_of": 1}
    document.pop("seal", None)  # which would be told first

    with pytest.raises(ValidationError, match=r"unheard_of\n\s+Extra inputs are not permitted"):
        type(record).model_validate_json(json.dumps(document))


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_a_record_never_changes(record: Record) -> None:
    name = next(iter(type(record).model_fields))

    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, name, getattr(record, name))


def test_canonical_json_is_one_text_for_one_value() -> None:
    expected = '{"a":[1,2.5,null],"b":"é\\n"}'

    assert canonical_json({"b": "é\n", "a": [1, 2.5, None]}) == expected
    assert canonical_json(json.loads(expected)) == expected
    assert content_hash({"b": 1, "a": 2}) == content_hash({"a": 2, "b": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_refuses_what_json_has_no_word_for(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"loss": value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Frozen Qwen2.5", "frozen-qwen2-5"),
        ("  Été à l'École__2 ", "ete-a-l-ecole-2"),
        ("\N{SNOWMAN}", ""),
        ("a" * 39 + " b", "a" * 39),
        ("x" * 50, "x" * 40),
    ],
)
def test_slugs_are_lower_case_plain_and_short(text: str, expected: str) -> None:
    assert slug(text) == expected


@given(st.text())
@settings(deadline=None)
def test_every_slug_is_a_name_that_kubernetes_accepts(text: str) -> None:
    name = slug(text)

    assert len(name) <= MAX_SLUG_LENGTH == 40
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert name == name.strip("-") == slug(name)


def test_every_field_of_every_record_says_what_it_means() -> None:
    def silent(form: type[Record]) -> set[str]:
        return {
            f"{form.__name__}.{name}"
            for name, field in form.model_fields.items()
            if not field.description and name not in {"kind", "schema_version"}
        }

    assert set().union(*(silent(type(record)) for record in RECORDS)) == set()

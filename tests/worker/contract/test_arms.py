"""What a person may write as an arm, and what it is called then."""

from typing import get_args

import pytest
from pydantic import ValidationError

from worker.contract.arms import TINY_ARCHITECTURES, Arm, BackboneKind, BackboneSpec, Mode


def test_the_names_of_modes_kinds_and_tiny_architectures_are_fixed() -> None:
    assert {mode.value for mode in Mode} == {"frozen", "live"}
    assert set(get_args(BackboneKind)) == {"tiny", "folder", "hub"}
    assert TINY_ARCHITECTURES == ("qwen3", "llama", "mistral", "smollm3", "gemma3", "qwen2")


@pytest.mark.parametrize(
    ("source", "kind", "short_name"),
    [
        ("tiny:gemma3", "tiny", "gemma3"),
        ("/models/Qwen3", "folder", "Qwen3"),
        ("./mine/", "folder", "mine"),
        ("../mine.v2", "folder", "mine.v2"),
        ("~/models/mine", "folder", "mine"),
        ("Qwen/Qwen3-1.7B-Base", "hub", "Qwen3-1.7B-Base"),
        ("gpt2", "hub", "gpt2"),
    ],
)
def test_the_source_tells_the_kind_and_the_short_name(source: str, kind: str, short_name: str) -> None:
    spec = BackboneSpec(source=source)

    assert (spec.kind, spec.short_name) == (kind, short_name)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("tiny:gpt2", "unknown tiny architecture 'gpt2'"),
        ("models/of/mine", "neither a hub id"),
        ("Qwen/Qwen3 Base", "neither a hub id"),
        ("https://huggingface.co/gpt2", "neither a hub id"),
        ("", "at least 1 character"),
    ],
)
def test_a_source_that_is_nothing_is_refused(source: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BackboneSpec(source=source)


@pytest.mark.parametrize("source", ["tiny:qwen3", "./mine", "/models/mine"])
def test_only_hub_ids_have_revisions(source: str) -> None:
    assert BackboneSpec(source="gpt2", revision="v1").revision == "v1"
    with pytest.raises(ValidationError, match="only hub ids have revisions"):
        BackboneSpec(source=source, revision="v1")


def test_the_short_form_means_the_same_as_the_long_one() -> None:
    short = Arm.model_validate({"backbone": "acme/base", "revision": "v1", "mode": "live"})
    long = Arm(backbone=BackboneSpec(source="acme/base", revision="v1"), mode=Mode.LIVE)

    assert short == long
    assert Arm.model_validate({"backbone": "acme/base", "mode": "live"}).backbone.revision is None


def test_an_arm_without_a_label_is_named_after_mode_and_backbone() -> None:
    arm = Arm.model_validate({"backbone": "Qwen/Qwen3-1.7B-Base", "mode": "frozen"})

    assert (arm.label, arm.slug) == ("Frozen Qwen3-1.7B-Base", "frozen-qwen3-1-7b-base")


def test_a_label_without_a_letter_or_digit_is_refused() -> None:
    with pytest.raises(ValidationError, match="no letter a-z or digit"):
        Arm(label="\N{SNOWMAN}", backbone=BackboneSpec(source="gpt2"), mode=Mode.LIVE)


def test_an_arm_with_a_default_label_is_read_back_from_its_own_document() -> None:
    arm = Arm.model_validate({"backbone": f"acme/{'a-long-name-' * 6}", "mode": "frozen"})

    assert Arm.model_validate_json(arm.model_dump_json()) == arm

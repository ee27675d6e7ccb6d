"""What a person may write as an arm, and what it is called then."""

from typing import get_args

import pytest
from pydantic import ValidationError

from worker.contract.arms import TINY_ARCHITECTURES, Arm, BackboneKind, BackboneSpec, Mode


def test_the_names_of_modes_kinds_and_tiny_architectures_are_fixed() -> None:
    assert {mode.value for mode in Mode} == {"frozen", "live"}
    assert set(get_args(BackboneKind)) == {"tiny", "folder", "hub", "gguf"}
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
        ("./SmolLM2-135M.Q8_0.gguf", "gguf", "SmolLM2-135M.Q8_0"),
        ("/models/tiny.GGUF", "gguf", "tiny"),
        ("./model.gguf/", "folder", "model.gguf"),
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
        ("model.gguf", "'model.gguf' is a file: write it with ./ or / in front"),
        ("models/model.gguf", "is a file"),
        ("", "at least 1 character"),
    ],
)
def test_a_source_that_is_nothing_is_refused(source: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BackboneSpec(source=source)


@pytest.mark.parametrize("source", ["tiny:qwen3", "./mine", "/models/mine", "./mine.gguf"])
def test_only_hub_ids_have_revisions(source: str) -> None:
    assert BackboneSpec(source="gpt2", revision="v1").revision == "v1"
    with pytest.raises(ValidationError, match="only hub ids have revisions"):
        BackboneSpec(source=source, revision="v1")


COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"source": "gpt2"}, "allow_code with revision None: code is run only as it was read"),
        ({"source": "gpt2", "revision": "main"}, "allow_code with revision 'main'"),
        ({"source": "gpt2", "revision": COMMIT[:-1]}, "write the commit that you have read"),
        ({"source": "tiny:qwen3"}, "allow_code has no meaning for 'tiny:qwen3'"),
        ({"source": "./mine.gguf"}, "allow_code has no meaning"),
        ({"source": "./mine", "allow_code": "yes"}, "valid boolean"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
def test_code_is_allowed_only_where_it_is_pinned(spec: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BackboneSpec.model_validate({"allow_code": True} | spec)


def test_code_may_be_allowed_at_a_commit_and_in_a_folder_and_is_not_by_default() -> None:
    short = {"backbone": "acme/own", "revision": COMMIT, "allow_code": True, "mode": "live"}

    assert Arm.model_validate(short).backbone == BackboneSpec(source="acme/own", revision=COMMIT, allow_code=True)
    assert BackboneSpec(source="./mine", allow_code=True).allow_code
    assert not BackboneSpec(source="acme/own", revision=COMMIT).allow_code


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

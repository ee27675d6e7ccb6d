"""Arms: which backbone, trained how."""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from worker.contract.records import Record, slug
from worker.contract.secrets import refuse_secrets

TINY_ARCHITECTURES = ("qwen3", "llama", "mistral", "smollm3", "gemma3", "qwen2")
"""Architectures of ``tiny:<architecture>``: the real transformers classes, about 190,000 parameters each."""

MAX_LABEL_LENGTH = 60
"""Characters. More do not fit a legend."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
"""``owner/name``, or a name alone; the same for models and data sets."""

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A commit of the hub in full."""

_PATH_PREFIXES = ("/", "./", "../", "~")
_GGUF = ".gguf"

BackboneKind = Literal["tiny", "folder", "hub", "gguf"]
OwnCode = Literal["model", "tokenizer"]


class Mode(StrEnum):
    """What is trained.

    ``FROZEN`` trains a head on features that never change (linear probing, as the head is linear).
    ``LIVE`` trains backbone and head together (full fine-tuning).
    """

    FROZEN = "frozen"
    LIVE = "live"


class BackboneSpec(Record):
    """A backbone as a person names it; the revision may still be a branch."""

    source: Annotated[str, Field(min_length=1)] = Field(
        description="Hub id such as Qwen/Qwen3-1.7B-Base, a local folder or .gguf file (starting with /, ./, ../ "
        "or ~), or tiny:<architecture> with one of qwen3, llama, mistral, smollm3, gemma3, qwen2."
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of a hub id; the default branch when left out."
    )
    allow_code: bool = Field(
        default=False,
        strict=True,
        description="Run the code that comes with the model, where transformers has no class for it. "
        "A hub id is then pinned: revision is a commit of 40 hex digits.",
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        refuse_secrets(source)
        if source.startswith("tiny:"):
            architecture = source.removeprefix("tiny:")
            if architecture not in TINY_ARCHITECTURES:
                msg = f"unknown tiny architecture {architecture!r}; there are {', '.join(TINY_ARCHITECTURES)}"
                raise ValueError(msg)
        elif not source.startswith(_PATH_PREFIXES):
            if source.lower().endswith(_GGUF):
                msg = f"{source!r} is a file: write it with ./ or / in front"
                raise ValueError(msg)
            if not HUB_ID.fullmatch(source):
                msg = (
                    f"{source!r} is neither a hub id (owner/name), nor tiny:<architecture>, "
                    "nor a folder or .gguf file (write it with ./ or / in front)"
                )
                raise ValueError(msg)
        return source

    @model_validator(mode="after")
    def _check_revision(self) -> "BackboneSpec":
        if self.revision is not None and self.kind != "hub":
            msg = f"revision {self.revision!r} has no meaning for {self.source!r}; only hub ids have revisions"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_allow_code(self) -> "BackboneSpec":
        if self.allow_code and self.kind not in {"hub", "folder"}:
            msg = f"allow_code has no meaning for {self.source!r}; only hub ids and folders can hold code"
            raise ValueError(msg)
        if self.allow_code and self.kind == "hub" and not COMMIT.fullmatch(self.revision or ""):
            msg = (
                f"allow_code with revision {self.revision!r}: code is run only as it was read, so write the commit "
                'that you have read, revision = "<40 hex digits>"'
            )
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> BackboneKind:
        """Where the weights come from."""
        if self.source.startswith("tiny:"):
            return "tiny"
        if not self.source.startswith(_PATH_PREFIXES):
            return "hub"
        return "gguf" if self.source.lower().endswith(_GGUF) else "folder"

    @property
    def short_name(self) -> str:
        """The last part of the source: what a person calls this backbone."""
        name = self.source.removeprefix("tiny:").rstrip("/").rsplit("/", 1)[-1]
        return name[: -len(_GGUF)] if self.kind == "gguf" else name


_BESIDE_BACKBONE = ("revision", "allow_code")
"""Keys of a ``BackboneSpec`` that the short form of an arm has beside ``backbone``."""


class Arm(Record):
    """One candidate of a comparison: a backbone and a mode, under a label."""

    label: str = Field(
        default="",
        max_length=MAX_LABEL_LENGTH,
        description="Name in legends and tables; made of mode and backbone when left out.",
    )
    backbone: BackboneSpec = Field(description="The pretrained body.")
    mode: Mode = Field(description="frozen: only the head is trained; live: backbone and head are trained.")

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, data: object) -> object:
        """Accept ``backbone = "id"`` with ``revision`` beside it, which is how a plan file reads best."""
        if isinstance(data, dict) and isinstance(data.get("backbone"), str):
            data = dict(data)
            spec = {"source": data.pop("backbone")}
            spec |= {key: data.pop(key) for key in _BESIDE_BACKBONE if key in data}
            data["backbone"] = spec
        return data

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the short form too: it is the one that plan files use."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        full = schema["properties"]["backbone"]
        about = {name: field.description for name, field in BackboneSpec.model_fields.items()}
        source = {"type": "string", "description": about["source"]}
        text_or_null = {"anyOf": [{"type": "string"}, {"type": "null"}]}
        schema["properties"]["backbone"] = {"anyOf": [source, full]}
        schema["properties"]["revision"] = {**text_or_null, "description": about["revision"]}
        schema["properties"]["allow_code"] = {"type": "boolean", "description": about["allow_code"]}
        return schema

    @model_validator(mode="after")
    def _fill_label(self) -> "Arm":
        if not self.label:
            label = f"{self.mode.capitalize()} {self.backbone.short_name}"[:MAX_LABEL_LENGTH]
            object.__setattr__(self, "label", label)
        if not self.slug:
            msg = f"label {self.label!r} has no letter a-z or digit to make a file name from"
            raise ValueError(msg)
        return self

    @property
    def slug(self) -> str:
        """The arm's identity inside its comparison."""
        return slug(self.label)

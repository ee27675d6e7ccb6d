"""Arms: which backbone, trained how."""

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from worker.contract.records import Record, slug

TINY_ARCHITECTURES = ("qwen3", "llama", "mistral", "smollm3", "gemma3", "qwen2")
"""Architectures of ``tiny:<architecture>``: the real transformers classes, about 190,000 parameters each."""

MAX_LABEL_LENGTH = 60
"""Characters. More do not fit a legend."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FOLDER_PREFIXES = ("/", "./", "../", "~")

BackboneKind = Literal["tiny", "folder", "hub"]


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
        description="Hub id such as Qwen/Qwen3-1.7B-Base, a local folder (starting with /, ./, ../ or ~), "
        "or tiny:<architecture> with one of qwen3, llama, mistral, smollm3, gemma3, qwen2."
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of a hub id; the default branch when left out."
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        if source.startswith("tiny:"):
            architecture = source.removeprefix("tiny:")
            if architecture not in TINY_ARCHITECTURES:
                msg = f"unknown tiny architecture {architecture!r}; there are {', '.join(TINY_ARCHITECTURES)}"
                raise ValueError(msg)
        elif not source.startswith(_FOLDER_PREFIXES) and not _HUB_ID.fullmatch(source):
            msg = (
                f"{source!r} is neither a hub id (owner/name), nor tiny:<architecture>, "
                "nor a folder (write it with ./ or / in front)"
            )
            raise ValueError(msg)
        return source

    @model_validator(mode="after")
    def _check_revision(self) -> "BackboneSpec":
        if self.revision is not None and self.kind != "hub":
            msg = f"revision {self.revision!r} has no meaning for {self.source!r}; only hub ids have revisions"
            raise ValueError(msg)
        return self

    @property
    def kind(self) -> BackboneKind:
        """Where the weights come from."""
        if self.source.startswith("tiny:"):
            return "tiny"
        return "folder" if self.source.startswith(_FOLDER_PREFIXES) else "hub"

    @property
    def short_name(self) -> str:
        """The last part of the source: what a person calls this backbone."""
        return self.source.removeprefix("tiny:").rstrip("/").rsplit("/", 1)[-1]


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
            if "revision" in data:
                spec["revision"] = data.pop("revision")
            data["backbone"] = spec
        return data

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the short form too: it is the one that plan files use."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        revision = BackboneSpec.model_fields["revision"].description
        full = schema["properties"]["backbone"]
        source = {"type": "string", "description": BackboneSpec.model_fields["source"].description}
        schema["properties"]["backbone"] = {"anyOf": [source, full]}
        schema["properties"]["revision"] = {"anyOf": [{"type": "string"}, {"type": "null"}], "description": revision}
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

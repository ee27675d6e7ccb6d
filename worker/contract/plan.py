"""Plans: the arms of one comparison and everything they share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, field_validator, model_validator

from worker.contract.arms import Arm, Mode
from worker.contract.records import Record, slug

LANGUAGE_NAMES = "builtin:language-names"
"""The data set that ships with freeze-bench: which of four languages are these three names in?"""

Schedule = Literal["cosine", "linear", "constant"]
Seed = Annotated[StrictInt, Field(ge=0, lt=2**31)]
LearningRate = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]


def _all_different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        msg = f"{list(seeds)} holds a seed twice"
        raise ValueError(msg)
    return seeds


def _as_tuple(value: object) -> object:
    """Read one learning rate as a list of one."""
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_all_different)]
LearningRates = Annotated[
    tuple[LearningRate, ...], BeforeValidator(_as_tuple, json_schema_input_type=LearningRate | tuple[LearningRate, ...])
]
SomeLearningRates = Annotated[
    tuple[LearningRate, ...],
    Field(min_length=1),
    BeforeValidator(
        _as_tuple,
        json_schema_input_type=LearningRate | Annotated[tuple[LearningRate, ...], Field(min_length=1)],
    ),
]


class DataSpec(Record):
    """A labelled text data set as a person names it, and how it is split."""

    source: str = Field(
        min_length=1,
        description="builtin:language-names, a path to a .csv or .jsonl file, or a hub id such as fancyzhx/ag_news.",
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of a hub id; the default branch when left out."
    )
    subset: str | None = Field(default=None, description="Configuration name of a hub data set that has several.")
    text_column: str = Field(default="text", min_length=1, description="Column that holds the text.")
    target_column: str = Field(default="label", min_length=1, description="Column that holds the class.")
    train_examples: StrictInt = Field(
        default=3520, ge=2, description="Size of the fixed train subset, in examples; all there are if fewer."
    )
    validation_examples: StrictInt = Field(
        default=512, ge=2, description="Examples held out for the curve; a fifth of the data if that is fewer."
    )
    test_examples: StrictInt = Field(
        default=512, ge=2, description="Examples held out for the final score; a fifth of the data if that is fewer."
    )
    split_seed: StrictInt = Field(
        default=0, ge=0, lt=2**31, description="Chooses which examples are held out. Training seeds do not touch it."
    )

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        if source.startswith("builtin:") and source != LANGUAGE_NAMES:
            msg = f"unknown built-in data set; there is {LANGUAGE_NAMES}"
            raise ValueError(msg)
        if source.endswith((".tsv", ".parquet", ".json", ".txt", ".xlsx")):
            msg = "files are read as .csv or .jsonl"
            raise ValueError(msg)
        return source

    @model_validator(mode="after")
    def _check_meaning(self) -> "DataSpec":
        is_hub = self.source != LANGUAGE_NAMES and not self.source.endswith((".csv", ".jsonl"))
        for key in ("revision", "subset"):
            if getattr(self, key) is not None and not is_hub:
                msg = f"{key} {getattr(self, key)!r} has no meaning for {self.source!r}; only hub data sets have one"
                raise ValueError(msg)
        columns = {"text_column", "target_column"} & self.model_fields_set
        if self.source == LANGUAGE_NAMES and any(
            getattr(self, key) != type(self).model_fields[key].default for key in columns
        ):
            msg = f"{' and '.join(sorted(columns))} have no meaning for {self.source!r}, which has no columns"
            raise ValueError(msg)
        return self


class TrainingSettings(Record):
    """How every arm is trained and scored: the conditions that all share."""

    steps: StrictInt = Field(default=110, ge=1, le=100_000, description="Optimizer updates.")
    batch_size: StrictInt = Field(default=32, ge=1, le=65_536, description="Examples per update.")
    eval_every: StrictInt = Field(default=1, ge=1, description="Steps between scorings of the validation split.")
    max_tokens: StrictInt = Field(
        default=128, ge=4, le=131_072, description="Tokens of a text that are read; the rest is cut."
    )
    head_lr: SomeLearningRates = Field(
        default=(1e-2,),
        description="Peak learning rate of the head; of several, the best on validation counts.",
    )
    backbone_lr: LearningRates = Field(
        default=(2e-5,),
        description="Peak learning rate of a live backbone; of several, the best on validation counts.",
    )
    schedule: Schedule = Field(default="cosine", description="Course of the learning rate after the warm-up.")
    warmup_steps: StrictInt = Field(
        default=5, ge=0, description="Updates over which the learning rate rises to its peak."
    )
    final_lr_ratio: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Learning rate of the last update as a share of the peak; not for constant.",
    )
    weight_decay: float = Field(
        default=0.01, ge=0, le=1, description="AdamW weight decay of matrices; vectors are not decayed."
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradients of a longer norm are scaled down to it.")

    @model_validator(mode="after")
    def _check_spans(self) -> "TrainingSettings":
        if self.warmup_steps > self.steps:
            msg = f"warmup_steps {self.warmup_steps} is more than steps {self.steps}"
            raise ValueError(msg)
        if self.eval_every > self.steps:
            msg = f"eval_every {self.eval_every} is more than steps {self.steps}"
            raise ValueError(msg)
        return self

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Steps at which validation is scored: 0, every ``eval_every``-th, and always the last."""
        return tuple(step for step in range(self.steps + 1) if self.is_eval_step(step))

    def is_eval_step(self, step: int) -> bool:
        """Whether validation is scored after update number ``step``."""
        return step % self.eval_every == 0 or step == self.steps


class Plan(Record):
    """What is compared: the arms, and the data and settings that they share."""

    name: str = Field(min_length=1, max_length=60, description="Name of the comparison; its slug is the folder name.")
    seeds: Seeds = Field(default=(0, 1, 2), description="Each seed orders the examples and initialises the head anew.")
    data: DataSpec = Field(description="The data set.")
    training: TrainingSettings = Field(default=TrainingSettings(), description="The shared conditions.")
    arms: tuple[Arm, ...] = Field(min_length=1, description="The candidates.")

    @model_validator(mode="after")
    def _check_names(self) -> "Plan":
        if not slug(self.name):
            msg = f"name {self.name!r} has no letter a-z or digit to make a folder name from"
            raise ValueError(msg)
        labels_by_slug: dict[str, str] = {}
        for arm in self.arms:
            if arm.slug in labels_by_slug:
                first = labels_by_slug[arm.slug]
                msg = f"two arms are named {first!r} and {arm.label!r}, which is the same file name {arm.slug!r}"
                raise ValueError(msg)
            labels_by_slug[arm.slug] = arm.label
        if not self.training.backbone_lr and any(arm.mode is Mode.LIVE for arm in self.arms):
            msg = "training.backbone_lr is empty, but a live arm trains its backbone"
            raise ValueError(msg)
        return self

    @property
    def comparison(self) -> str:
        """The comparison's identity: the same for every run of this plan, whenever it is run."""
        return slug(self.name)

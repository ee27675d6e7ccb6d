"""Plans: the arms of one comparison and everything they share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, field_validator, model_validator

from worker.contract.arms import HUB_ID, Arm, Mode
from worker.contract.data_files import DATA_FORMS, find_form
from worker.contract.records import Record, slug
from worker.contract.secrets import refuse_secrets

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
        description="builtin:language-names, a hub id such as fancyzhx/ag_news, or a path or URL (https://, s3:// and "
        "whatever fsspec reads) of a .csv, .tsv, .jsonl (each also as .gz) or .parquet file.",
    )
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of a hub id; the default branch when left out."
    )
    subset: str | None = Field(default=None, description="Configuration name of a hub data set that has several.")
    text_column: str = Field(default="text", min_length=1, description="Column that holds the text.")
    target_column: str = Field(default="label", min_length=1, description="Column that holds the class.")
    split_column: str | None = Field(
        default=None,
        min_length=1,
        description="Column that says of each row whether it is train, validation (also valid, val, dev) or test. "
        "A split that it never names is drawn from train.",
    )
    validation_source: str | None = Field(
        default=None, min_length=1, description="File or URL of an own validation split; drawn when left out."
    )
    test_source: str | None = Field(
        default=None, min_length=1, description="File or URL of an own test split; drawn when left out."
    )
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

    @field_validator("source", "validation_source", "test_source")
    @classmethod
    def _check_secrets(cls, source: str | None) -> str | None:
        """Come first: the other messages repeat the source."""
        if source is not None:
            refuse_secrets(source)
        return source

    @field_validator("source")
    @classmethod
    def _check_source(cls, source: str) -> str:
        if source.startswith("builtin:") and source != LANGUAGE_NAMES:
            msg = f"unknown built-in data set; there is {LANGUAGE_NAMES}"
            raise ValueError(msg)
        if source != LANGUAGE_NAMES and not find_form(source) and not HUB_ID.fullmatch(source):
            msg = f"{source!r} is neither a hub id (owner/name), nor {LANGUAGE_NAMES}; files are read as {DATA_FORMS}"
            raise ValueError(msg)
        return source

    @field_validator("validation_source", "test_source")
    @classmethod
    def _check_own_split(cls, source: str | None) -> str | None:
        if source is not None and not find_form(source):
            msg = f"{source!r} is no file of a form that is read: {DATA_FORMS}"
            raise ValueError(msg)
        return source

    @model_validator(mode="after")
    def _check_meaning(self) -> "DataSpec":
        is_hub = self.source != LANGUAGE_NAMES and not find_form(self.source)
        for key in ("revision", "subset"):
            if getattr(self, key) is not None and not is_hub:
                msg = f"{key} {getattr(self, key)!r} has no meaning for {self.source!r}; only hub data sets have one"
                raise ValueError(msg)
        keys = ("text_column", "target_column", "split_column", "validation_source", "test_source")
        changed = [key for key in keys if getattr(self, key) != type(self).model_fields[key].default]
        if self.source == LANGUAGE_NAMES and changed:
            msg = f"{' and '.join(changed)} have no meaning for {self.source!r}, which has neither columns nor files"
            raise ValueError(msg)
        if self.split_column is not None and (self.validation_source or self.test_source):
            msg = "split_column and own files of splits contradict each other; give one or the other"
            raise ValueError(msg)
        columns = self.wanted_columns()
        if len(set(columns.values())) < len(columns):
            msg = f"{', '.join(columns)} name one column twice: {', '.join(columns.values())}"
            raise ValueError(msg)
        return self

    def wanted_columns(self, *, is_split: bool = False) -> dict[str, str]:
        """Return the columns that are read, by the setting that names each: text, class, and split if there is one.

        Args:
            is_split: Whether the table is one split as a whole.
        """
        wanted = {"text_column": self.text_column, "target_column": self.target_column}
        if self.split_column is not None and not is_split:
            wanted["split_column"] = self.split_column
        return wanted


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

"""What one worker process is told, as one JSON document, and the content address of what it makes.

The flow side writes these, the worker reads them with the same classes. Nothing else crosses.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from worker.contract.arms import Arm, BackboneKind, BackboneSpec, Mode, OwnCode
from worker.contract.errors import ConfigError
from worker.contract.estimate import EstimateRequest
from worker.contract.plan import DataSpec, Seed, Seeds, TrainingSettings
from worker.contract.records import Record, content_hash

SCHEMA_VERSION: Final = 1
"""Version of every record in the results store. Raised when a reader of the old form would misread the new one."""

RECIPE_VERSION = 3
"""Version of the training code's results. Raised when the same settings give another curve than before, so that
results of the old code are not reused."""

RUN_CONFIG_ENV = "FREEZE_BENCH_CONFIG"
"""Environment variable that holds a worker's document when no file is named."""

TERMINATION_LOG_ENV = "FREEZE_BENCH_TERMINATION_LOG"
"""File into which a worker writes why it failed (Kubernetes: the container's ``terminationMessagePath``)."""

PARENT_PIPE_ENV = "FREEZE_BENCH_PARENT_PIPE"
"""Set to 1 when standard input is a pipe whose end of file means that the parent is gone."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Device = Literal["auto", "cpu", "cuda"]


class SplitSizes(Record):
    """Examples in each split."""

    train: int = Field(ge=1, description="The fixed train subset.")
    validation: int = Field(ge=1, description="Scored for the curve.")
    test: int = Field(ge=1, description="Scored at the last and at the best validation step, never picked on.")


class PreparedData(Record):
    """A data set after loading, deduplication and splitting: identified by its content."""

    schema_version: Literal[1] = SCHEMA_VERSION
    source: str = Field(description="As in the plan.")
    revision: str | None = Field(
        description="Commit of a hub data set, SHA-256 of a file or over several, None for builtin."
    )
    digest: Digest = Field(description="SHA-256 of classes, texts and targets of the three splits.")
    classes: tuple[str, ...] = Field(min_length=2, description="Class names; an example's target is an index here.")
    num_examples: SplitSizes = Field(description="After every rule has been applied.")
    num_train_available: int = Field(ge=1, description="Train examples before the subset was fixed.")
    num_duplicates_dropped: int = Field(ge=0, description="Examples whose text had been seen with the same class.")
    num_conflicts_dropped: int = Field(ge=0, description="Examples whose text occurs with several classes.")
    majority_accuracy: float = Field(
        ge=0, le=1, description="Validation accuracy of always naming the commonest class."
    )
    num_empty_dropped: int = Field(default=0, ge=0, description="Rows without a text.")
    absent_from_validation: tuple[str, ...] = Field(
        default=(), description="Classes of which a validation split that the source gives has no example."
    )
    absent_from_test: tuple[str, ...] = Field(
        default=(), description="Classes of which a test split that the source gives has no example."
    )


class PreparedBackbone(Record):
    """A backbone that is on disk, with its revision pinned."""

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: BackboneKind = Field(description="Where it came from.")
    source: str = Field(description="As in the plan.")
    revision: str = Field(
        min_length=1, description="Commit of a hub id, otherwise SHA-256 of the file or of the folder's files."
    )
    model_type: str = Field(description="transformers' name of the architecture.")
    own_code: tuple[OwnCode, ...] = Field(
        default=(), description="What is loaded by code that came with it, as its arm allows."
    )


class Execution(Record):
    """Where and with what a worker runs. Nothing here changes what a curve means, so no address depends on it."""

    results: str = Field(min_length=1, description="Results store: a folder or any fsspec URL.")
    cache: str = Field(min_length=1, description="Folder for data, backbones and features, shared by all workers.")
    device: Device = Field(default="auto", description="auto takes a GPU where there is one.")
    num_threads: int = Field(default=0, ge=0, description="CPU threads of one worker; 0 leaves it to torch.")
    metrics_host: str = Field(default="127.0.0.1", description="Address that /metrics and /healthz listen on.")
    metrics_port: int | None = Field(
        default=0, ge=0, le=65535, description="Port of /metrics; 0 takes a free one, None serves nothing."
    )
    flush_seconds: float = Field(default=1.0, ge=0, description="Seconds between writings of an unfinished curve.")
    checkpoint_seconds: float = Field(
        default=30.0,
        ge=0,
        description="Seconds between checkpoints: what a killed worker repeats at most. Further apart where writing "
        "one takes more than a twentieth of that.",
    )
    fresh_since: float | None = Field(
        default=None,
        description="Unix time: results and checkpoints from before are not used, what was finished since is kept. "
        "None uses whatever is there.",
    )
    use_feature_cache: bool = Field(default=True, description="Keep features on disk and reuse them.")
    tokens_per_batch: int = Field(
        default=4096, ge=1, description="Padded tokens per batch when texts only pass forward; recorded in the result."
    )


class RunIdentity(Record):
    """Everything that the curve of one (arm, seed) depends on. Its hash is the content address."""

    recipe_version: int = Field(default=RECIPE_VERSION, description="Version of the training code's results.")
    mode: Mode = Field(description="What is trained.")
    backbone_revision: str = Field(description="Commit of a hub id, otherwise SHA-256 of the loaded files.")
    data_digest: Digest = Field(description="SHA-256 of classes, texts and targets of the three splits.")
    training: TrainingSettings = Field(description="The conditions; backbone_lr is empty for a frozen arm.")
    seed: Seed = Field(description="Orders the examples and initialises the head.")

    @property
    def address(self) -> str:
        """Content address: equal for equal experiments, whatever they are called and wherever they run."""
        return content_hash(self.model_dump(mode="json"))


class RunConfig(Record):
    """What one worker trains: one arm with all its seeds."""

    kind: Literal["run"] = "run"
    schema_version: Literal[1] = SCHEMA_VERSION
    comparison: str = Field(pattern=r"^[a-z0-9-]{1,40}$", description="Slug of the plan's name.")
    arm: Arm = Field(description="The candidate, as the plan names it.")
    seeds: Seeds = Field(description="One curve each.")
    data: PreparedData = Field(description="The data set, pinned.")
    backbone: PreparedBackbone = Field(description="The backbone, pinned.")
    training: TrainingSettings = Field(description="The conditions; backbone_lr is empty for a frozen arm.")
    execution: Execution = Field(description="Where and with what.")

    @model_validator(mode="after")
    def _check_backbone_lr(self) -> "RunConfig":
        if (self.arm.mode is Mode.LIVE) != bool(self.training.backbone_lr):
            msg = (
                f"training.backbone_lr is {list(self.training.backbone_lr)} with mode {self.arm.mode}: "
                "a live arm needs at least one, a frozen arm has none"
            )
            raise ValueError(msg)
        return self

    @property
    def name(self) -> str:
        """Name of the worker, unique within the comparison."""
        return self.arm.slug

    def identity(self, seed: int) -> RunIdentity:
        """Return what the curve of ``seed`` depends on."""
        return RunIdentity(
            mode=self.arm.mode,
            backbone_revision=self.backbone.revision,
            data_digest=self.data.digest,
            training=self.training,
            seed=seed,
        )


class PrepareConfig(Record):
    """What one worker fetches or makes before any arm runs: the data set, or one backbone.

    The worker answers with a ``PreparedData`` or a ``PreparedBackbone`` at ``answer`` in the results store. If it is
    asked what the arms of a backbone will need, it answers that with ``BackboneEstimates`` at ``estimates_answer``.
    """

    kind: Literal["prepare"] = "prepare"
    schema_version: Literal[1] = SCHEMA_VERSION
    comparison: str = Field(pattern=r"^[a-z0-9-]{1,40}$", description="Slug of the plan's name.")
    name: str = Field(pattern=r"^[a-z0-9-]+$", description="Of the worker, unique within the comparison.")
    answer: str = Field(min_length=1, description="Path of the answer inside the results store.")
    data: DataSpec = Field(description="The data set, as the plan names it.")
    backbone: BackboneSpec | None = Field(default=None, description="The backbone; None prepares the data set.")
    prepared_data: PreparedData | None = Field(
        default=None, description="The data set, pinned: what a tiny backbone is pretrained on."
    )
    only_look: bool = Field(default=False, description="Answer null instead of fetching or making what is not there.")
    estimate: EstimateRequest | None = Field(
        default=None, description="What arms will do with the backbone; None estimates nothing."
    )
    execution: Execution = Field(description="Where and with what.")

    @property
    def estimates_answer(self) -> str:
        """Path of the estimates inside the results store: apart from the backbone, which every run config repeats."""
        return f"{self.answer.removesuffix('.json')}-estimates.json"

    @model_validator(mode="after")
    def _check_prepared_data(self) -> "PrepareConfig":
        # What arms will need can be estimated before their data set is there: of its plan's numbers.
        is_estimate = self.only_look and self.estimate is not None
        if self.backbone is not None and self.prepared_data is None and not is_estimate:
            msg = "a backbone is prepared after its data set: prepared_data is missing"
            raise ValueError(msg)
        if self.estimate is not None and self.backbone is None:
            msg = "estimate has no meaning for a data set: it is about the arms of a backbone"
            raise ValueError(msg)
        return self


WorkerConfig = Annotated[RunConfig | PrepareConfig, Field(discriminator="kind")]


def arm_training(training: TrainingSettings, mode: Mode) -> TrainingSettings:
    """Return the conditions as they apply to one arm: a frozen backbone has no learning rate.

    Raises:
        ConfigError: A live arm without a backbone learning rate.
    """
    if mode is Mode.FROZEN:
        return training.model_copy(update={"backbone_lr": ()})
    if not training.backbone_lr:
        raise ConfigError("A live arm has no backbone_lr.", remedy="Set training.backbone_lr in the plan.")
    return training

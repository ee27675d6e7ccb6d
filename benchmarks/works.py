"""The work that both sides do: what is trained on what. Only descriptions; ``work_files`` puts them on disk."""

from pathlib import Path

from pydantic import Field

from flows.plan_file import load_plan
from worker.contract.plan import DataSpec, TrainingSettings
from worker.contract.records import Record

DEMO_PLAN = Path(__file__).parents[1] / "plans" / "demo.toml"
_DEMO = load_plan(DEMO_PLAN)


class DecoderShape(Record):
    """A decoder of Llama's architecture with random weights and tied embeddings."""

    num_layers: int = Field(ge=1, description="Transformer blocks.")
    hidden_size: int = Field(ge=1, description="Width of the residual stream.")
    num_heads: int = Field(ge=1, description="Query heads.")
    num_kv_heads: int = Field(ge=1, description="Key and value heads.")
    mlp_size: int = Field(ge=1, description="Width of the gated MLP.")
    vocabulary_size: int = Field(ge=2, description="Tokens; a word of the drawn texts is one token.")


class DrawnTexts(Record):
    """Distinct texts of random words, whose lengths are log-normal; class 0 and 1 share most of their words."""

    num_train: int = Field(ge=2, description="Train texts.")
    num_validation: int = Field(ge=2, description="Validation texts.")
    num_test: int = Field(
        default=2,
        ge=2,
        description="Test texts: as few as there are classes, since no clock waits for their scores.",
    )
    median_tokens: int = Field(default=48, ge=1, description="Median length, in tokens.")
    sigma: float = Field(default=0.6, gt=0, description="Standard deviation of the logarithm of the length.")


class Work(Record):
    """One training that both sides do."""

    name: str = Field(min_length=1, description="As on the command line.")
    about: str = Field(min_length=1, description="In words, for the page.")
    data: DataSpec | DrawnTexts = Field(description="A data set of the product's, or texts that are drawn.")
    backbone: str | DecoderShape = Field(description="A source as in a plan, or a decoder with random weights.")
    training: TrainingSettings = Field(description="The conditions of both sides.")

    @property
    def title(self) -> str:
        """Name for people, with what differs from the plain work."""
        every = self.training.eval_every
        return self.name if every == 1 else f"{self.name}, eval_every {every}"

    def evaluated_every(self, steps: int) -> "Work":
        """Return the same work with validation scored more rarely."""
        return self.model_copy(update={"training": self.training.model_copy(update={"eval_every": steps})})


SMALL_DECODER = DecoderShape(
    num_layers=30, hidden_size=576, num_heads=9, num_kv_heads=3, mlp_size=1536, vocabulary_size=49152
)
"""134.5 million parameters. Source: config.json of HuggingFaceTB/SmolLM2-135M."""

DEMO = Work(
    name="a",
    about="One arm of the demo: the tiny Llama of plans/demo.toml, 110 steps of 32 texts, 512 validation texts scored "
    "at steps 0 to 110.",
    data=_DEMO.data,
    backbone="tiny:llama",
    training=_DEMO.training,
)

DECODER = Work(
    name="b",
    about="A Llama-type decoder of 135 million random weights (30 layers, hidden size 576), 110 steps of 32 texts, "
    "3,520 train and 512 validation texts whose lengths are log-normal (median 48 tokens, sigma 0.6, cut at 256), "
    "validation scored at steps 0 to 110.",
    data=DrawnTexts(num_train=3520, num_validation=512),
    backbone=SMALL_DECODER,
    training=TrainingSettings(steps=110, batch_size=32, max_tokens=256),
)

SHORT_DECODER = DECODER.model_copy(
    update={
        "name": "b-short",
        "about": "The same decoder, cut to 10 steps, 320 train and 64 validation texts.",
        "data": DrawnTexts(num_train=320, num_validation=64),
        "training": DECODER.training.model_copy(update={"steps": 10}),
    }
)

WORKS = (DEMO, SHORT_DECODER, DECODER)

"""A tiny repository whose model only its own code can load, in two files of which one imports the other."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tiny_tokenizers import make_tokenizer

WIDTH = 16
_CONFIGURATION = """
from transformers import PretrainedConfig


class AcmeConfig(PretrainedConfig):
    model_type = "acme"

    def __init__(self, vocab_size=512, hidden_size=16, **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        super().__init__(**kwargs)
"""
_MODELING = """
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from .configuration_acme import AcmeConfig

SCALE = {scale}


class AcmeModel(PreTrainedModel):
    config_class = AcmeConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None):
        return BaseModelOutput(last_hidden_state=self.embed(input_ids) * SCALE)
"""


def make_repository_with_code(folder: Path, *, scale: float = 1.0, elsewhere: str = "") -> Path:
    """Write config.json, two files of code, model.safetensors and a tokenizer that needs none.

    Args:
        folder: Made if missing.
        scale: In the code: what features are multiplied with.
        elsewhere: Repository in which the code is said to lie.

    Returns:
        ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "configuration_acme.py").write_text(_CONFIGURATION, "utf-8")
    (folder / "modeling_acme.py").write_text(_MODELING.format(scale=scale), "utf-8")
    prefix = f"{elsewhere}--" if elsewhere else ""
    auto_map = {
        "AutoConfig": f"{prefix}configuration_acme.AcmeConfig",
        "AutoModel": f"{prefix}modeling_acme.AcmeModel",
    }
    config = {"model_type": "acme", "vocab_size": 512, "hidden_size": WIDTH, "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    weight = torch.randn(512, WIDTH, generator=torch.Generator().manual_seed(0))
    save_file({"embed.weight": weight}, folder / "model.safetensors", {"format": "pt"})
    make_tokenizer("qwen3").save_pretrained(folder)
    return folder

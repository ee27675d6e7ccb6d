"""Pretrained models: from the files of one to a transformers model in fp32, and what of it is used.

Of an encoder with a pooler, and of an encoder-decoder, only the encoder is used.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.contract.errors import BackboneError
from worker.contract.machine import is_of_the_machine

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel

_OTHER_INPUTS = {"pixel_values", "pixel_values_videos", "input_features", "input_values"}
"""What models of images, video and sound take, in transformers' names."""

_LOAD_REMEDY = "Use a model whose architecture this transformers has, with config.json and whole safetensors."


def load_model(folder: Path, source: str, **how: Any) -> "PreTrainedModel":  # noqa: ANN401 - from_pretrained's own
    """Load the whole model of a folder in fp32 on the CPU, and refuse one that lacks a weight that would be used.

    Args:
        folder: With config.json, or with the file that ``how`` names.
        source: As in the plan, for messages.
        how: Arguments of ``from_pretrained`` beyond the common ones.

    Raises:
        BackboneError: transformers cannot load it, weights are missing, or it does not read text alone.
    """
    import torch  # noqa: PLC0415 - seconds to import, and not needed to prepare
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it warns of weights that are not used
    common = {"local_files_only": True, "trust_remote_code": False, **how}
    config = load_config(folder, source, **common)
    form = model_class(config)
    with explaining(source, _LOAD_REMEDY):
        model, report = form.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **common
        )
    _check_weights(model, set(report["missing_keys"]), source)
    model.config.use_cache = False  # keys and values are for generating text
    return model  # type: ignore[no-any-return] # AutoModel is a factory without a useful type


def load_config(folder: Path, source: str, **how: Any) -> "PreTrainedConfig":  # noqa: ANN401 - from_pretrained's own
    """Load the configuration of a folder's model.

    Args:
        folder: With config.json, or with the file that ``how`` names.
        source: As in the plan, for messages.
        how: Arguments of ``from_pretrained``.

    Raises:
        BackboneError: transformers does not know it, or it does not read text alone.
    """
    from transformers import AutoConfig  # noqa: PLC0415 - as in load_model

    with explaining(source, _LOAD_REMEDY):
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, **how)
    _check_inputs(config, source)
    return config


def model_class(config: "PreTrainedConfig") -> Any:  # noqa: ANN401 - a factory without a useful type
    """Return the class of transformers that makes a body of a configuration."""
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoModel, AutoModelForTextEncoding  # noqa: PLC0415

    return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel


def _check_weights(model: "PreTrainedModel", missing: set[str], source: str) -> None:
    used = set(map(id, used_part(model).parameters()))
    names = {name for name, value in model.named_parameters(remove_duplicate=False) if id(value) in used}
    if lacking := sorted(names & missing):
        raise BackboneError(
            f"{source} lacks {len(lacking)} weights, among them {lacking[0]}: they would be random.",
            remedy="Use a complete checkpoint of this architecture.",
        )


def used_part(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return the part of a model that makes the hidden states which are pooled, without a pooler of its own."""
    from torch import nn  # noqa: PLC0415 - as in load_model

    body: PreTrainedModel = model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model
    if isinstance(getattr(body, "pooler", None), nn.Module):
        body.pooler = nn.Identity()
    return body


def max_positions(body: "nn.Module") -> int | None:
    """Return how many tokens a body has positions for; None if there is no limit.

    RoBERTa and its kin count positions from the one after the padding's, so that their first rows are never a token's.

    Source:
        transformers 5.23, RobertaEmbeddings.create_position_ids_from_input_ids; MPNetEmbeddings.
    """
    from torch import nn  # noqa: PLC0415 - as in load_model

    limit = getattr(body.config, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        return None
    for name, module in body.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return min(limit, module.num_embeddings - module.padding_idx - 1)
    return limit


@contextmanager
def explaining(what: str, remedy: str) -> Iterator[None]:
    """Say of whatever a library raises what could not be loaded.

    ``tokenizers`` raises bare ``Exception``s, and code that comes with a model may raise anything.
    """
    try:
        yield
    except Exception as error:
        if is_of_the_machine(error):
            raise
        kind = "" if isinstance(error, OSError | ValueError | RuntimeError) else f"{type(error).__name__}: "
        raise BackboneError(f"transformers cannot load {what}: {kind}{error}", remedy=remedy) from error


def _check_inputs(config: Any, source: str) -> None:  # noqa: ANN401 - PreTrainedConfig, which mypy cannot index by
    from transformers.models.auto.modeling_auto import MODEL_MAPPING  # noqa: PLC0415 - as in load_model

    found = MODEL_MAPPING.get(type(config), None)
    form = found[0] if isinstance(found, tuple) else found
    if form is None:
        return  # brings its own class, or is refused by AutoModel, which says why
    inputs = set(inspect.signature(form.forward).parameters)
    if "input_ids" not in inputs or inputs & _OTHER_INPUTS:
        raise BackboneError(
            f"{source} is a {form.__name__}, which does not read text alone.",
            remedy="Name a text model; families of several kinds publish one as well (gemma-3-1b beside gemma-3-4b).",
        )

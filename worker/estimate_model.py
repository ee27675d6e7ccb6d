"""Models without memory: built from a configuration alone, of tensors that have shapes and no numbers."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from worker.body import backbone_folder
from worker.contract.arms import BackboneSpec, OwnCode
from worker.contract.config import PreparedBackbone
from worker.contract.errors import BackboneError
from worker.hub import HubFailure, fetch_config, resolve_revision
from worker.pretrained import load_config, model_class, used_part
from worker.tiny import COMMON, SPECIFIC

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@contextmanager
def without_memory(*, on_gpu: bool) -> Iterator[None]:
    """Make every tensor of a block a fake one.

    All of them say that they are the CPU's: who estimates mostly has no GPU, and a backward pass over fake tensors of
    one ends a process whose torch was built without CUDA. What a GPU does in another way is told to torch instead.
    """
    with FakeTensorMode():
        if on_gpu:
            with _GpuKernels():
                yield
        else:
            yield


class _GpuKernels(TorchFunctionMode):
    """Dropout as a GPU computes it: its mask is a byte per number, and attention does its own.

    On the CPU attention with dropout takes one matrix of all texts' token pairs after the other, and keeps them.

    Source:
        torch 2.13, aten/native/Dropout.cpp; aten/native/transformers/sdp_utils_cpp.cpp, check_for_dropout.
    """

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - the signature of TorchFunctionMode
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call a function of torch, or what a GPU has in its place."""
        kwargs = kwargs or {}
        if func is nn.functional.scaled_dot_product_attention:
            return func(*args, **{**kwargs, "dropout_p": 0.0})
        if func is nn.functional.dropout:
            return _drop(*args, **kwargs)
        return func(*args, **kwargs)


def _drop(values: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: ARG001, FBT001, FBT002 - the signature of torch.nn.functional.dropout
    return torch.native_dropout(values, p, training)[0] if training and p > 0 else values


def load_backbone_config(
    spec: BackboneSpec, prepared: PreparedBackbone | None, cache: Path
) -> tuple["PreTrainedConfig", tuple[OwnCode, ...]]:
    """Load a backbone's configuration, and say what of it is made by code of its own.

    Of a hub id that is not prepared nothing but config.json is fetched, and it is not kept.

    Args:
        spec: The source.
        prepared: What it is pinned to; None if it is not in the cache.
        cache: Folder shared by all workers.

    Raises:
        BackboneError: It has none that can be read without preparing it.
    """
    if prepared is not None:
        folder = backbone_folder(cache, prepared)
        trust = "model" in prepared.own_code
        config = load_config(folder, spec.source, local_files_only=True, trust_remote_code=trust)
        return config, prepared.own_code
    if spec.kind == "tiny":
        return _tiny_config(spec), ()
    if spec.kind != "hub":
        raise BackboneError(
            f"How large {spec.source} is, is known when it is prepared.", remedy="Run the comparison, then ask again."
        )
    try:
        with tempfile.TemporaryDirectory(prefix="freeze-bench-") as folder_name:
            folder = Path(folder_name)
            fetch_config(spec.source, resolve_revision(spec.source, spec.revision, "model"), folder)
            return load_config(folder, spec.source, local_files_only=True, trust_remote_code=False), ()
    except HubFailure as failure:
        raise BackboneError(failure.problem, remedy=failure.remedy) from failure


def _tiny_config(spec: BackboneSpec) -> "PreTrainedConfig":
    from transformers import AutoConfig  # noqa: PLC0415 - seconds to import

    model_type, specific = SPECIFIC[spec.short_name]
    config: PreTrainedConfig = AutoConfig.for_model(model_type, **COMMON, **specific)
    return config


def build_body(config: "PreTrainedConfig", own_code: tuple[OwnCode, ...]) -> nn.Module:
    """Build the body that ``load_body`` would load, with weights of no particular value.

    Raises:
        ValueError: transformers has no class for it.
    """
    from transformers.initialization import no_init_weights  # noqa: PLC0415 - seconds to import

    # Some architectures draw their weights again until all are within bounds, which these never are.
    with no_init_weights():
        model = model_class(config).from_config(config, dtype=torch.float32, trust_remote_code="model" in own_code)
    model.tie_weights()  # no_init_weights leaves that out as well
    body = used_part(model)
    body.config.use_cache = False
    return body

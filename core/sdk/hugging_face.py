"""Opening a checkpoint folder: what its weight files hold, and the model that transformers makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ..contract.model import ResolvedModel
from ..errors import ModelError
from .checkpoint import INDEX, SINGLE, read_header, read_json, weight_files
from .stored_weights import StoredWeights, stored_weights
from .torch_device import plan_no_attention

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")


_PACKAGES = {
    "aqlm": ("aqlm", "accelerate"),
    "auto-round": ("auto_round",),
    "awq": ("gptqmodel", "accelerate"),
    "bitnet": ("accelerate",),
    "bitsandbytes": ("bitsandbytes", "accelerate"),
    "compressed-tensors": ("compressed_tensors",),
    "fp8": ("accelerate",),
    "gptq": ("gptqmodel", "optimum"),
    "hqq": ("hqq",),
    "mxfp4": ("accelerate",),
    "quanto": ("optimum", "accelerate"),
    "quark": ("quark",),
    "torchao": ("torchao",),
}
"""What transformers needs to read weights that are stored quantised, by ``quant_method``."""

FOR_OTHER_ENGINES = "A .gguf file of the model is opened as it is by engines that read GGUF and have its architecture"
"""What may be done with a model that an engine for Hugging Face folders does not know."""


def require_architecture(model: ResolvedModel) -> None:
    """Raise ``ModelError`` for what is no Hugging Face folder, or one that does not say what it is."""
    if not model.path.is_dir() or model.architecture is None:
        raise ModelError(
            f"{model.path} is not a Hugging Face folder (no config.json with 'architectures')",
            code="container-unsupported",
        )


def refuse_unknown(model: ResolvedModel) -> None:
    """Raise ``ModelError`` where transformers has no class for a model; read from its own table, unimported."""
    require_architecture(model)
    config = model.path / "config.json"
    if not isinstance(kind := read_json(config).get("model_type"), str):
        raise ModelError(
            f"{config}: model_type = {repr(kind)[:80]}; transformers needs the name of a kind of model",
            code="model-config-invalid",
        )
    _refuse_stored(model, stored_weights(read_json(config)))
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        return
    table = Path(spec.origin).parent / "models" / "auto" / "modeling_auto.py"
    if table.is_file() and f'"{model.architecture}"' not in table.read_text(encoding="utf-8"):
        raise ModelError(
            f"{model.path}: transformers {version('transformers')} has no model class {model.architecture!r}. "
            f"{FOR_OTHER_ENGINES}",
            code="model-unsupported",
        )


def _refuse_stored(model: ResolvedModel, stored: StoredWeights | None) -> None:
    """Raise ``ModelError`` for quantised weights that transformers cannot read with what is installed."""
    if stored is None:
        return
    needed = _PACKAGES.get(stored.method)
    missing = [name for name in needed or () if find_spec(name) is None]
    if needed is not None and not missing:
        return
    why = f"for which transformers needs {' and '.join(missing)}" if missing else "which transformers cannot read here"
    own = "; MLX opens them as they are" if stored.format is not None else ""
    raise ModelError(
        f"{model.path}: its weights are {stored.words}, {why}{own}. Give the model in safetensors of 16 or 32 bits, or "
        "a .gguf file of it",
        code="quantisation-unsupported",
    )


def count_weights(folder: Path) -> int:
    """Return the number of weights in the safetensors files that make a model; reads their headers only.

    Raises:
        ModelError: there is no safetensors file, or one is cut or damaged; names it.
    """
    return sum(_weights_in(file) for file in weight_files(folder))


def _weights_in(file: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as tensors:
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: damaged or cut off ({error})", code="model-damaged") from error


@contextmanager
def weights_view(folder: Path) -> Iterator[Path]:
    """Yield a folder in which every library opens the weights that ``weight_files`` names, and no others.

    transformers opens ``model.safetensors``, else what an index names; mlx-lm all of ``model*.safetensors``. Shards
    without an index, another name, or a file beside an index would be other weights to each, or none. It is the folder
    itself where all agree, else one of links, which lasts until the libraries have opened the files.

    Raises:
        ModelError: there are no weights, or they are damaged.
    """
    files = weight_files(folder)
    single = folder / SINGLE
    is_named = files == [single] or ((folder / INDEX).exists() and not single.exists())
    if is_named and set(folder.glob("model*.safetensors")) == set(files):
        yield folder
        return
    with TemporaryDirectory(prefix="decodebench-view-") as scratch:
        _link(folder, files, Path(scratch))
        yield Path(scratch)


def _link(folder: Path, files: list[Path], view: Path) -> None:
    for file in folder.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name != INDEX:
            (view / file.name).symlink_to(file.absolute())
    count = len(files)
    names = [SINGLE] if count == 1 else [f"model-{at:05d}-of-{count:05d}.safetensors" for at in range(1, count + 1)]
    for name, file in zip(names, files, strict=True):
        (view / name).symlink_to(file.absolute())
    if count > 1:
        found = {tensor.name: name for name, file in zip(names, files, strict=True) for tensor in read_header(file)}
        (view / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": found}))


def open_model(folder: Path, dtype: str, device: str, attention: str | None = None) -> PreTrainedModel:
    """Load the causal language model in ``folder``, ready to evaluate; no remote code is run.

    Args:
        folder: a Hugging Face folder.
        dtype: name of torch's number format for weights and activations.
        device: where it goes.
        attention: implementation of attention, by transformers' name; None: the architecture's default.

    Raises:
        ModelError: no model that transformers knows, or weights are missing or of the wrong shape.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    plan_no_attention(device)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    try:
        with weights_view(folder) as place:
            model, report = transformers.AutoModelForCausalLM.from_pretrained(
                place,
                dtype=getattr(torch, dtype),
                attn_implementation=attention,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # which the report names, and is refused below
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = " ".join(str(error).split())
        if "scaled_dot_product_attention" in first:
            architecture = first.split()[0]
            raise ModelError(
                f"{folder}: {architecture} has no fused attention; use the option attention=eager",
                code="model-unsupported",
            ) from error
        raise ModelError(f"{folder}: transformers cannot load it: {first[:300]}", code="load-failed") from error
    problems = list(_problems(report))
    if problems:
        raise ModelError(f"{folder}: {'; '.join(problems)}", code="weights-mismatch")
    return model.eval().to(device)


def context_length(config: PretrainedConfig) -> int:
    """Return the longest sequence in tokens that the model's configuration allows.

    Raises:
        ModelError: the configuration states none, as that of a recurrent model.
    """
    text = config.get_text_config()  # models with several parts keep the language model's settings one level down
    for name in _LENGTHS:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    raise ModelError(
        f"{type(text).__name__} states no context length; give config.json an integer max_position_embeddings",
        code="model-config-invalid",
    )


def _problems(report: dict[str, object]) -> Iterator[str]:
    """Word what transformers would have filled with random numbers."""
    for kind, words in (("missing_keys", "weights are missing"), ("mismatched_keys", "weights have another shape")):
        names = sorted(str(name) for name in report.get(kind) or ())  # type: ignore[attr-defined]
        if names:
            yield f"{len(names)} {words}, such as {names[0]!r}"

"""Models that tests of several backends load: the trained one that ships, and small untrained ones of each family."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import decodebench.plugins.reference.problems as problems
from decodebench import ResolvedModel

TINY = Path(problems.__file__).parent / "weights" / "target"


def resolve(path: Path) -> ResolvedModel:
    """Describe a model as the host does."""
    files = sorted(f for f in (path.iterdir() if path.is_dir() else [path]) if f.is_file())
    digest = hashlib.sha256(b"".join(f.name.encode() + f.read_bytes() for f in files)).hexdigest()
    config = path / "config.json"
    architecture = json.loads(config.read_text()).get("architectures", [None])[0] if config.is_file() else None
    return ResolvedModel(str(path), path, digest, architecture)


def torch_model(path: Path):
    """Open a model in transformers, float32."""
    import torch
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def torch_logits(model, ids):
    """Return the logits after each of ``ids``, [T, V]."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([list(ids)])).logits[0].numpy()


SHAPE = dict(
    vocab_size=160,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    initializer_range=0.2,
    bos_token_id=None,
    eos_token_id=2,
    pad_token_id=0,
)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}


def save_checkpoint(folder: Path, family: str, **changes) -> Path:
    import torch
    import transformers

    torch.manual_seed(11)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, **changes})
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases are zero and norms one unless trained
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder

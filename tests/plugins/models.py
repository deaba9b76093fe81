"""Models that tests of several backends load: the trained one that ships, and small untrained ones of each family."""

from __future__ import annotations

import gc
import hashlib
import json
import warnings
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import pytest

import decodebench.plugins.reference.problems as problems
from decodebench import Backend, ModelCache, Request, ResolvedModel, Step

TINY = Path(problems.__file__).parent / "weights" / "target"


def resolve(path: Path) -> ResolvedModel:
    """Describe a model as the host does."""
    files = sorted(f for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file())
    digest = hashlib.sha256(b"".join(f.name.encode() + f.read_bytes() for f in files)).hexdigest()
    architecture = None
    if (path / "config.json").is_file():
        try:
            architecture = json.loads((path / "config.json").read_text()).get("architectures", [None])[0]
        except ValueError:
            architecture = "unreadable"
    return ResolvedModel(str(path), path, digest, architecture)


class Loaded:
    """A loaded backend and shorthands for what tests ask of it."""

    def __init__(
        self, kind: type[Backend], path: Path, quantisation: str, cache: ModelCache | None, /, **options
    ) -> None:
        threads = {"n_threads": 1} if "n_threads" in kind.Options.model_fields else {}
        chosen = kind.Options(**{**threads, **options})
        self.prepared = kind.prepare(resolve(path), quantisation, "cpu", chosen, cache)
        self.backend = kind()
        self.facts = self.backend.load(self.prepared, "cpu", chosen)
        self.backend.warmup()

    def steps(self, prompt, limit: int = 16, **changes) -> list[Step]:
        return list(self.backend.generate([Request(tuple(prompt), limit, **changes)]))

    def tokens(self, prompt, limit: int = 16, **changes) -> list[int]:
        return [token for step in self.steps(prompt, limit, **changes) for token in step.token_ids]


class Engine:
    """One backend that tests load with this and that: once each, and all are closed at the end.

    Args:
        kind: the backend.
        plain: its quantisation that leaves weights as they are, for tests that name none.
        cache: of prepared models; None for a backend that prepares none.
        loaded: what to return, where tests need further shorthands.
    """

    def __init__(
        self, kind: type[Backend], plain: str, cache: ModelCache | None = None, loaded: type[Loaded] = Loaded
    ) -> None:
        self._kind, self._plain, self._cache, self._class = kind, plain, cache, loaded
        self._loaded: dict[tuple, Loaded] = {}

    def __call__(self, path: Path, quantisation: str | None = None, /, **options) -> Loaded:
        """Return what was loaded with the same arguments before, or load it."""
        key = (path, quantisation or self._plain, *sorted(options.items()))
        if key not in self._loaded:
            self._loaded[key] = self.anew(path, quantisation, **options)
        return self._loaded[key]

    def anew(self, path: Path, quantisation: str | None = None, /, **options) -> Loaded:
        """Load for one test alone, which may spoil it."""
        return self._class(self._kind, path, quantisation or self._plain, self._cache, **options)

    def close(self) -> None:
        """Close all. Each collects garbage, which takes a second where there is as much as here: it is set aside."""
        gc.freeze()
        for loaded in self._loaded.values():
            loaded.backend.close()
        gc.unfreeze()


def problem_ids(count: int, seed: int = 5) -> list[tuple[int, ...]]:
    """Return problems that the trained models have not seen, as ids."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    texts = [problem.prompt for problem in islice(problems.held_out_problems(seed), count)]
    return [tuple(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]


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


def assert_shares_a_prompt(backend: Backend, prompt, tokens, atol: float = 1e-4) -> None:
    """Compare continuations behind one prompt with each whole sequence alone: short ones first, one of all ``tokens``.

    A short one comes again behind the long one, of which nothing may be left.
    """
    continuations = [tokens[:1], tokens[:4], tokens, tokens[2:4]]
    found = backend.score_continuations(prompt, continuations, 2)
    for ids, scores in zip(continuations, found, strict=True):
        whole = backend.score([*prompt, *ids], 2)
        assert list(scores.logprobs) == pytest.approx(list(whole.logprobs[len(prompt) :]), abs=atol)
        assert list(scores.is_greedy) == list(whole.is_greedy[len(prompt) :])
        assert [len(ids) for ids in scores.top_ids] == [2] * len(ids)


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


def save_checkpoint(folder: Path, family: str, *, tokenizer=None, shard: str | None = None, **changes) -> Path:
    """Write an untrained checkpoint of a family of transformers, float32.

    Args:
        folder: where.
        family: Qwen2, Qwen3, Llama, ...
        tokenizer: its own, where tests need one.
        shard: largest file, as transformers writes sizes.
        changes: keys of the configuration that are not as in ``SHAPE``.
    """
    import torch
    import transformers

    torch.manual_seed(11)
    kind = "Gemma3TextConfig" if family == "Gemma3" else f"{family}Config"
    config = getattr(transformers, kind)(**{**SHAPE, **changes})
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases are zero and norms one unless trained
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int, scale: float) -> dict:
    """Draw a checkpoint's tensors: norms near one, all else around zero."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        tensors[name] = 1 + 0.1 * noise if len(shape) == 1 and "bias" not in name else scale * noise
    return tensors

"""Untrained checkpoints of the three families, each with a tokenizer of its kind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from decodebench.core.cache import ModelCache
from decodebench.core.contract.generation import Request, Step
from decodebench.core.contract.model import ModelFacts, PreparedModel, ResolvedModel

NEEDED = ("llama_cpp", "gguf", "torch", "transformers")
collect_ignore_glob = ["test_*.py"] if any(find_spec(name) is None for name in NEEDED) else []

TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HEAD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
CORPUS = [
    "Question: Tom has 12 apples and buys 7 more. How many apples?\nAnswer: 12+7=19 apples.",
    "The quick brown fox jumps over the lazy dog, doesn't it? We'll see; they're here.",
    "  indented\n\n\tcode(x) { return 1234567; }   \n",
    "Grüße aus Zürich, naïve café, 東京タワー, Привет мир, 🙂🙃",
] * 4
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_level_tokenizer(kind: str):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
    from tokenizers.decoders import ByteLevel as ByteDecoder

    tokenizer = Tokenizer(models.BPE())
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    after = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    numbers = {"qwen2": r"\p{N}", "llama3": r"\p{N}{1,3}"}
    if kind in numbers:
        cut = pre_tokenizers.Split(Regex(HEAD + numbers[kind] + TAIL), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, after])
    elif kind == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain])
    else:
        tokenizer.pre_tokenizer = plain
    tokenizer.decoder = ByteDecoder()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def sentencepiece_tokenizer():
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers

    specials = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=230,
        special_tokens=[*specials, *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    trainer.vocab_size = 480
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.train_from_iterator(CORPUS[:2] * 4, trainer)
    # bytes are plain entries of the vocabulary, not special tokens
    source = json.loads(tokenizer.to_str())
    source["added_tokens"] = source["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(source))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


SHAPE = dict(
    vocab_size=512,
    hidden_size=256,
    intermediate_size=512,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    initializer_range=0.15,
    bos_token_id=None,
    eos_token_id=2,
    pad_token_id=0,
)


def save_checkpoint(folder: Path, family: str, tokenizer, shard: str | None = None, **changes) -> Path:
    import torch
    import transformers

    torch.manual_seed(7)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, **changes})
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # biases are zero and norms one unless trained
                parameter.add_(torch.randn_like(parameter) * 0.1)
            assert parameter.dtype == torch.float32, name
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def resolve(path: Path) -> ResolvedModel:
    files = sorted(f for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file())
    digest = hashlib.sha256(b"".join(f.name.encode() + f.read_bytes() for f in files)).hexdigest()
    architecture = None
    if (path / "config.json").is_file():
        try:
            architecture = json.loads((path / "config.json").read_text()).get("architectures", [None])[0]
        except ValueError:
            architecture = "unreadable"
    return ResolvedModel(name=str(path), path=path, content_hash=digest, architecture=architecture)


@dataclass
class Loaded:
    backend: object
    facts: ModelFacts
    prepared: PreparedModel

    def steps(self, prompt, n=16, **changes) -> list[Step]:
        return list(self.backend.generate([Request(tuple(prompt), n, **changes)]))

    def tokens(self, prompt, n=16, **changes) -> list[int]:
        return [token for step in self.steps(prompt, n, **changes) for token in step.token_ids]


@pytest.fixture(scope="session", autouse=True)
def null_files_closed():
    """llama-cpp-python leaves two handles of /dev/null open, which is a warning at exit."""
    yield
    from llama_cpp import _utils

    _utils.outnull_file.close()
    _utils.errnull_file.close()


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> ModelCache:
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DECODEBENCH_CACHE", str(root))
        yield ModelCache(root)


@pytest.fixture(scope="session")
def load(cache):
    """Prepare and load; every backend is closed at the end of the session."""
    from decodebench.plugins.llama_cpp.backend import LlamaCppBackend

    opened = []

    def _load(path: Path, quantisation: str = "f32", **options) -> Loaded:
        chosen = LlamaCppBackend.Options(**{"n_threads": 1, **options})
        prepared = LlamaCppBackend.prepare(resolve(path), quantisation, "cpu", chosen, cache)
        backend = LlamaCppBackend()
        facts = backend.load(prepared, "cpu", chosen)
        opened.append(backend)
        return Loaded(backend, facts, prepared)

    yield _load
    for backend in opened:
        backend.close()


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    scaled = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}
    linear = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    qwen, llama = byte_level_tokenizer("qwen2"), byte_level_tokenizer("llama3")
    return {
        "qwen3": save_checkpoint(root / "qwen3", "Qwen3", qwen, head_dim=64, tie_word_embeddings=True),
        "qwen2": save_checkpoint(root / "qwen2", "Qwen2", qwen, tie_word_embeddings=False),
        "qwen2-yarn": save_checkpoint(root / "qwen2-yarn", "Qwen2", qwen, rope_parameters=yarn),
        "qwen3-linear": save_checkpoint(root / "qwen3-linear", "Qwen3", qwen, head_dim=64, rope_parameters=linear),
        "llama": save_checkpoint(root / "llama", "Llama", llama, rope_parameters=scaled),
        "llama-biased": save_checkpoint(
            root / "llama-biased", "Llama", sentencepiece_tokenizer(), attention_bias=True, shard="1MB"
        ),
    }


@pytest.fixture(scope="session")
def qwen3(load, checkpoints) -> Loaded:
    return load(checkpoints["qwen3"], kv_cache_type="f32", flash_attention="off", extra_buffers="off")

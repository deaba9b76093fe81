"""Untrained checkpoints of the three families, each with a tokenizer of its kind."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from decodebench import ModelCache

from .. import models
from ..models import LINEAR, LLAMA3, Engine, Loaded

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
    max_position_embeddings=512,
    initializer_range=0.15,
)


def save_checkpoint(folder: Path, family: str, tokenizer, **changes) -> Path:
    return models.save_checkpoint(folder, family, tokenizer=tokenizer, **{**SHAPE, **changes})


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
    from decodebench.plugins.llama_cpp.backend import LlamaCppBackend

    engine = Engine(LlamaCppBackend, "f32", cache)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}
    qwen, llama = byte_level_tokenizer("qwen2"), byte_level_tokenizer("llama3")
    return {
        "qwen3": save_checkpoint(root / "qwen3", "Qwen3", qwen, head_dim=64, tie_word_embeddings=True),
        "qwen2": save_checkpoint(root / "qwen2", "Qwen2", qwen, tie_word_embeddings=False),
        "qwen2-yarn": save_checkpoint(root / "qwen2-yarn", "Qwen2", qwen, rope_parameters=yarn),
        "qwen3-linear": save_checkpoint(root / "qwen3-linear", "Qwen3", qwen, head_dim=64, rope_parameters=LINEAR),
        "llama": save_checkpoint(root / "llama", "Llama", llama, rope_parameters=LLAMA3),
        "llama-biased": save_checkpoint(
            root / "llama-biased", "Llama", sentencepiece_tokenizer(), attention_bias=True, shard="1MB"
        ),
    }


@pytest.fixture(scope="session")
def qwen3(load, checkpoints) -> Loaded:
    return load(checkpoints["qwen3"], kv_cache_type="f32", flash_attention="off", extra_buffers="off")

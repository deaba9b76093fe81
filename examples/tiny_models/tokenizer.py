"""The byte-level BPE tokenizer that all models of the tiny family share, built from their training text.

Its structure is Qwen2's (same splitting expression, so every digit is a token of its own; byte-level alphabet; no
added space), so that engines which know Qwen2 read it: GGUF names it model `gpt2`, pre-tokenizer `qwen2`. The one
difference is that it does not normalise to NFC, because llama.cpp does not either.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from decodebench.plugins.reference.family import BPE_TOKENS, END, IM_END, IM_START, MASK, PAD, SPECIALS
from decodebench.plugins.reference.problems import Problem, training_problems

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TRAINING_TEXTS = 5000


def build_tokenizer() -> Tokenizer:
    """Train the tokenizer on the first training problems; the result is the same every time."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=BPE_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    texts = (problem.prompt + problem.completion for problem in islice(training_problems(0), _TRAINING_TEXTS))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    return tokenizer


def encode_problem(tokenizer: Tokenizer, problem: Problem) -> tuple[list[int], list[int]]:
    """Return the token ids of a problem's prompt and of its completion, tokenised apart as when generating."""
    prompt = tokenizer.encode(problem.prompt, add_special_tokens=False).ids
    return prompt, tokenizer.encode(problem.completion, add_special_tokens=False).ids


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, which `tokenizers` and `transformers` load."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "mask_token": MASK,
        "additional_special_tokens": [IM_START, IM_END],
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

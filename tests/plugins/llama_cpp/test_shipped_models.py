"""The trained models that ship with decodebench answer through the engine as they do through transformers."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer

import decodebench.plugins.reference.problems as problems_module

WEIGHTS = Path(problems_module.__file__).parent / "weights"


@pytest.fixture(scope="module", params=["target", "draft"])
def folder(request):
    path = WEIGHTS / request.param
    if not (path / "model.safetensors").exists():
        pytest.skip(f"{request.param} is not trained yet")
    return path


@pytest.fixture(scope="module")
def questions():
    return [problem.prompt for problem in islice(problems_module.held_out_problems(5), 4)]


def stop_id(folder):
    return json.loads((folder / "config.json").read_text())["eos_token_id"]


def test_answers_equal_those_of_transformers(folder, load, questions):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    loaded = load(folder, "f32", kv_cache_type="f32", flash_attention="off")
    for question in questions:
        ids = tokenizer.encode(question).ids
        theirs = model.generate(torch.tensor([ids]), max_new_tokens=64, do_sample=False)[0, len(ids) :].tolist()
        assert loaded.tokens(ids, 64, stop_token_ids=(stop_id(folder),)) == theirs


def test_eight_bits_keep_nearly_every_answer(folder, load, questions):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    whole, eight = load(folder, "f16"), load(folder, "q8_0")
    prompts = [tokenizer.encode(question).ids for question in questions]
    stop = (stop_id(folder),)
    same = [whole.tokens(p, 64, stop_token_ids=stop) == eight.tokens(p, 64, stop_token_ids=stop) for p in prompts]
    assert sum(same) >= len(same) - 2


def test_engine_tokenises_the_tasks_text_alike(folder, load):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend = load(folder, "f16").backend
    for problem in islice(problems_module.held_out_problems(11), 200):
        text = problem.prompt + problem.completion + "<|endoftext|>"
        ids = tokenizer.encode(text).ids
        assert backend.encode(text) == ids
        assert backend.decode(ids) == text.removesuffix("<|endoftext|>")  # special tokens are no text

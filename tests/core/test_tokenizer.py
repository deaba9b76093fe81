"""Pieces of text per step: joined they are the whole text, and no character is torn."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decodebench import ModelError
from decodebench.core.sdk.tokenizer import Codec, ids_hash, pieces
from decodebench.plugins.fast_dllm.backend import FastDllmBackend
from decodebench.plugins.reference.family import WEIGHTS_FOLDER


def decode_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.text(max_size=60), st.lists(st.integers(1, 5), min_size=1))
def test_pieces_join_to_the_whole_text(text, sizes):
    content = list(text.encode())
    steps, at, turn = [], 0, 0
    while at < len(content):
        size = sizes[turn % len(sizes)]
        steps.append(content[at : at + size])
        at, turn = at + size, turn + 1
    found = list(pieces(decode_bytes, steps))
    assert len(found) == len(steps)
    assert "".join(found) == text


def test_a_character_belongs_to_the_step_that_completes_it():
    first, second = list("é".encode())
    assert list(pieces(decode_bytes, [[ord("a")], [first], [second], [ord("b")]])) == ["a", "", "é", "b"]


def test_the_hash_of_ids_tells_order_and_borders_apart():
    assert len({ids_hash(ids) for ids in [(1, 2), (2, 1), (12,), (1, 2, 3)]}) == 4


def bpe_folder(folder):
    """A folder with the files of an older tokenizer: vocabulary, merges and added tokens."""
    whole = json.loads((WEIGHTS_FOLDER / "target" / "tokenizer.json").read_text())
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in whole["model"]["merges"]]
    (folder / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    added = {token["content"]: token["id"] for token in whole["added_tokens"]}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    config = json.loads((WEIGHTS_FOLDER / "target" / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "Qwen2Tokenizer"}))
    return folder


def test_vocabulary_and_merges_do_for_a_missing_tokenizer_json(tmp_path):
    ours = Codec(bpe_folder(tmp_path), FastDllmBackend())
    theirs = Codec(WEIGHTS_FOLDER / "target", FastDllmBackend())
    for text in ("Question: Mia has 12 apples.\nAnswer:", "12+7=19.\n#### 19<|endoftext|>", "naïve  caf\u00e9 — 3,5"):
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        assert ours.decode(ids) == theirs.decode(ids)
    assert ours.stop_ids() == theirs.stop_ids() != ()


def test_a_damaged_vocabulary_is_named(tmp_path):
    (bpe_folder(tmp_path) / "vocab.json").write_text("{")
    with pytest.raises(ModelError, match="vocab.json: not a tokenizer"):
        Codec(tmp_path, FastDllmBackend())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"}, "tokenizer_class = 'GPT2Tokenizer'"),
        ("added_tokens.json", {"<|endoftext|>": 462, "<|mask|>": 470}, "has id 470, but 463 is next"),
    ],
)
def test_files_of_another_tokenizer_are_refused(tmp_path, name, content, words):
    (bpe_folder(tmp_path) / name).write_text(json.dumps(content))
    with pytest.raises(ModelError, match=words):
        Codec(tmp_path, FastDllmBackend())

"""Which tokens end a generation, by the same rule for a folder and for a GGUF file."""

from __future__ import annotations

import json

import pytest

from decodebench.core.sdk.special_tokens import SpecialTokens
from decodebench.core.sdk.tokenizer import Codec

from ..plugins.llama_cpp.conftest import byte_level_tokenizer

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def folder_with(folder, special, files):
    from tokenizers import AddedToken

    tokenizer = byte_level_tokenizer("qwen2")
    tokenizer.add_tokens([AddedToken(text, special=is_special, normalized=False) for text, is_special in special])
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder, tokenizer


def stops(folder, tokenizer):
    return {tokenizer.id_to_token(token) for token in Codec(folder, None).stop_ids()}


def metadata(tokens, **ids):
    texts, kinds = zip(*tokens, strict=True)
    stated = {f"tokenizer.ggml.{name}_token_id": token for name, token in ids.items()}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": kinds,
        **stated,
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, set()),
        ({"tokenizer_config.json": {"eos_token": {"content": "[X]"}}}, {"[X]"}),
        ({"special_tokens_map.json": {"eos_token": "[X]"}}, {"[X]"}),
        ({"generation_config.json": {"eos_token_id": [3, 4]}, "config.json": {"eos_token_id": 5}}, {3, 4, 5}),
    ],
)
def test_a_folder_stops_at_what_it_declares_and_at_known_ends(tmp_path, files, expected):
    folder, tokenizer = folder_with(tmp_path / "model", [("[X]", True), ("<|eot_id|>", True), ("</s>", False)], files)
    expected = {tokenizer.id_to_token(one) if isinstance(one, int) else one for one in expected}
    assert stops(folder, tokenizer) == expected | {"<|endoftext|>", "<|im_end|>", "<|eot_id|>"}


def test_a_file_stops_at_the_same():
    tokens = [("a", NORMAL), ("[X]", CONTROL), ("<|eot_id|>", CONTROL), ("</s>", USER_DEFINED), ("<|im_end|>", CONTROL)]
    assert SpecialTokens.of_metadata(metadata(tokens, eos=1)).stop_ids() == (1, 2, 4)
    assert SpecialTokens.of_metadata(metadata(tokens, eos=0, eot=1, eom=3)).stop_ids() == (0, 1, 2, 3, 4)
    assert SpecialTokens.of_metadata(metadata(tokens, eos=99)).stop_ids() == (2, 4)


def test_an_end_that_is_none_beside_others_is_left_out():
    harmony = [("<|return|>", CONTROL), ("<|call|>", CONTROL), ("<|end|>", CONTROL)]
    assert SpecialTokens.of_metadata(metadata(harmony)).stop_ids() == (0, 1)
    assert SpecialTokens.of_metadata(metadata(harmony[1:])).stop_ids() == (0, 1)
    tools = [("<|tool_response>", CONTROL), ("</s>", CONTROL)]
    assert SpecialTokens.of_metadata(metadata(tools)).stop_ids() == (0,)


def test_roles_of_a_file_have_their_texts():
    tokens = [("<s>", CONTROL), ("</s>", CONTROL), ("<unk>", CONTROL), ("<pad>", CONTROL)]
    found = SpecialTokens.of_metadata(metadata(tokens, bos=0, eos=1, unknown=2, padding=3))
    assert found.texts == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    assert found.begin_id() == 0

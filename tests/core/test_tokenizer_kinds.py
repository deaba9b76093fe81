"""A folder's tokenizer gives the ids and the text that transformers gives, whatever else its files store."""

from __future__ import annotations

import json

import pytest

from decodebench.core.sdk.tokenizer import Codec

from ..plugins.llama_cpp.conftest import byte_level_tokenizer, sentencepiece_tokenizer
from ..texts import texts

transformers = pytest.importorskip("transformers")

COUNTS = [150, pytest.param(2000, marks=pytest.mark.nightly)]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<tool>", "<s>", "</s>", "[MADE-UP]")


def byte_level(kind):
    return byte_level_tokenizer(kind)


def with_metaspace(scheme):
    """SentencePiece as newer files write it: the prefix space belongs to the pre-tokenizer."""
    from tokenizers import Tokenizer

    source = json.loads(sentencepiece_tokenizer().to_str())
    source["normalizer"] = None
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}
    source["pre_tokenizer"] = space
    source["decoder"]["decoders"][0] = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    if scheme == "never":
        source["decoder"]["decoders"].pop()  # nothing was put before the text
    return Tokenizer.from_str(json.dumps(source))


MAKERS = {
    "qwen2": lambda: byte_level("qwen2"),
    "llama3": lambda: byte_level("llama3"),
    "gpt2": lambda: byte_level("gpt2"),
    "digit split": lambda: byte_level("smollm"),
    "sentencepiece": sentencepiece_tokenizer,
    "metaspace first": lambda: with_metaspace("first"),
    "metaspace always": lambda: with_metaspace("always"),
    "no prefix space": lambda: with_metaspace("never"),
}
KINDS = list(MAKERS)


@pytest.fixture(scope="module")
def codecs(tmp_path_factory):
    """Our codec and transformers' tokenizer of a folder, by kind."""
    made = {}

    def pair(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
            tokenizer = MAKERS[kind]()
            tokenizer.enable_truncation(64)
            tokenizer.enable_padding(length=96)
            tokenizer.save(str(folder / "tokenizer.json"))
            config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[MADE-UP]"}
            config |= {"additional_special_tokens": ["<tool>"], "bos_token": {"__type": "AddedToken", "content": "<s>"}}
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            made[kind] = (Codec(folder, None), transformers.AutoTokenizer.from_pretrained(folder))
        return made[kind]

    return pair


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_text_are_those_of_transformers(codecs, kind, count):
    ours, theirs = codecs(kind)
    for text in texts(count, 3, SPECIAL):
        ids = theirs(text)["input_ids"]
        assert ours.encode(text) == ids
        assert ours.encode_behind(text) == theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_survives_the_round_trip(codecs, kind):
    codec, _ = codecs(kind)
    for text in texts(100, 4):
        if kind.startswith("metaspace"):  # puts no space before one that is there: the two texts have the same ids
            text = text.lstrip(" ")
        assert codec.decode(codec.encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_decoded_as_it_stands_behind_its_prompt(codecs, kind):
    codec, _ = codecs(kind)
    for text in texts(100, 5):
        prompt, ids = codec.encode("def f(x):\n"), codec.encode("def f(x):\n" + text)
        if ids[: len(prompt)] == prompt:  # no token spans both
            assert codec.decode_behind(ids[len(prompt) :]) == text


def test_a_long_prompt_is_not_cut_and_a_short_one_not_filled(codecs):
    codec, _ = codecs("qwen2")
    assert len(codec.encode("a " * 500)) > 500
    assert len(codec.encode("a")) == 1

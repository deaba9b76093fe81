"""The engine's tokenizer, made from tokenizer.json, cuts texts as tokenizers does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from decodebench.core.errors import ModelError
from decodebench.core.sdk.gguf.metadata import read_metadata
from decodebench.core.sdk.gguf.vocabulary import GgufVocabulary
from decodebench.core.sdk.tokenizer import Codec

from ...refusals import refused
from ...texts import texts

COUNTS = [150, pytest.param(2000, marks=pytest.mark.nightly)]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<tool>", "<s>", "</s>")
BODIES = [
    ("def add(a, b):\n", "    return a + b\n"),
    (
        'def fib(n):\n    """Count rabbits."""\n',
        "    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n",
    ),
    ("def f(x):\n", "\tfor i in range(10):\n\t\tx += i  # tabs\n\treturn x\n"),
    ("class A:\n", "  def b(self): return {'é': [1, 22, 333]}\n"),
    ("x =", " 1"),
]
TEXTS = [
    "Question: Tom has 12 apples and buys 7 more.\nAnswer: 12+7=19\n#### 19<|endoftext|>",
    "1234567890 12 123 1,000.50 3.14159 007",
    "it's they're WE'LL I'd isn't 'tis",
    "  leading,  double   spaces and trailing  ",
    "tabs\tand\r\nlines\n\n\n  \n end \n",
    "naïve café Grüße 東京タワー Привет שלום مرحبا ½ Ⅷ ٣",
    "emoji 🙂🙃👩‍👩‍👧‍👦 and \u200b zero width",
    "<|im_start|>user\nhi<|im_end|>\n<tool>x</tool>",
    "<|im_start|><|im_start|> <|endoftext|>x<|endoftext|>",
    "def f(x):\n    return {'a': [1, 2], \"b\": x**2}  # !?$%&/()=",
    "a",
    " ",
    "\n",
    "",
]


@pytest.fixture(scope="module")
def engines(load, tmp_path_factory):
    """A loaded model per kind of tokenizer."""
    from .conftest import byte_level_tokenizer, save_checkpoint, sentencepiece_tokenizer

    made = {}

    def engine(kind):
        if kind not in made:
            tokenizer = sentencepiece_tokenizer() if kind == "llama" else byte_level_tokenizer(kind)
            folder = tmp_path_factory.mktemp(kind)
            save_checkpoint(folder, "Llama", tokenizer, hidden_size=32, intermediate_size=32, num_hidden_layers=1)
            loaded = load(folder, extra_buffers="off")
            loaded.backend.path = loaded.prepared.path
            made[kind] = (loaded.backend, Tokenizer.from_file(str(folder / "tokenizer.json")))
        return made[kind]

    return engine


KINDS = ["qwen2", "llama3", "gpt2", "smollm", "llama"]
# for an empty text tokenizers writes a lone space where SentencePiece writes nothing
CASES = [(kind, text) for kind in KINDS for text in TEXTS if (kind, text) != ("llama", "")]


@pytest.mark.parametrize(("kind", "text"), CASES, ids=repr)
def test_same_ids_for_hard_texts(engines, kind, text):
    backend, tokenizer = engines(kind)
    assert backend.encode(text) == tokenizer.encode(text).ids


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(st.sampled_from("ab TQé1290'\n\t.,<|>🙂東"), max_size=40))
def test_same_ids_for_random_texts(engines, text):
    for kind in ("qwen2", "llama3", "gpt2", "smollm"):
        backend, tokenizer = engines(kind)
        assert backend.encode(text) == tokenizer.encode(text).ids


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_tokenised_and_read_back_alike_by_its_folder_its_engine_and_from_its_metadata(engines, kind, count):
    backend, tokenizer = engines(kind)
    rebuilt = GgufVocabulary(read_metadata(backend.path), "model.gguf")
    for text in texts(count, 1, SPECIAL):
        ids = tokenizer.encode(text).ids
        assert backend.encode(text) == rebuilt.encode(text) == ids
        told = tokenizer.decode(ids, skip_special_tokens=True)
        assert backend.decode(ids) == rebuilt.decode(ids) == told
        assert backend.encode(text, adds_special=False) == rebuilt.encode(text, adds_special=False)


@pytest.mark.parametrize("kind", KINDS)
def test_decode_is_the_inverse_of_encode(engines, kind):
    backend, _ = engines(kind)
    for text in texts(100, 2):
        assert backend.decode(backend.encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_code_keeps_its_indentation_behind_a_prompt(engines, kind):
    backend, _ = engines(kind)
    codec = Codec(backend.path, backend)
    for prompt, answer in BODIES:
        whole, start = codec.encode(prompt + answer), len(codec.encode(prompt))
        if whole[:start] == codec.encode(prompt):  # no token spans both
            assert codec.decode_behind(whole[start:]) == answer
        assert codec.decode_behind(codec.encode_behind(f"x{answer}"))[-len(answer) :] == answer


def test_a_space_prefix_that_a_file_does_without_is_not_taken_off(load, tmp_path):
    backend = _sentencepiece(load, tmp_path, adds_prefix=False)
    assert [backend.decode(backend.encode(text)) for text in ("    return x", " a", "a")] == ["    return x", " a", "a"]
    assert backend.encode(" a") != backend.encode("a")


def test_a_rendered_chat_gets_no_second_begin_token(engines):
    backend, _ = engines("llama")
    assert backend.encode("<s>x") == [1, 1, *backend.encode("x")[1:]]
    assert Codec(backend.path, backend).encode_behind("<s>x") == backend.encode("x")


def test_unknown_kinds_are_refused_by_name(engines):
    metadata = read_metadata(engines("gpt2")[0].path)
    for changes, code, value in (
        ({"tokenizer.ggml.pre": "kimi-k2"}, "tokenizer-unsupported", "tokenizer.ggml.pre = 'kimi-k2'"),
        ({"tokenizer.ggml.model": "t5"}, "tokenizer-unsupported", "tokenizer.ggml.model = 't5'"),
        ({"tokenizer.ggml.tokens": []}, "tokenizer-missing", "tokenizer.ggml.tokens"),
    ):
        with refused(code, "model.gguf", value):
            GgufVocabulary({**metadata, **changes}, "model.gguf")


def test_incomplete_utf8_decodes_to_a_replacement(engines):
    backend, tokenizer = engines("gpt2")
    ids = tokenizer.encode("🙂", add_special_tokens=False).ids
    if len(ids) > 1:
        assert "\ufffd" in backend.decode(ids[:1])


def test_padding_and_special_tokens_are_typed(engines, checkpoints, qwen3):
    from gguf import GGUFReader

    reader = GGUFReader(qwen3.prepared.path)
    tokens, types = (reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type"))
    assert len(tokens) == len(types) == 512
    by_text = dict(zip(tokens, types, strict=True))
    assert (by_text["<|im_end|>"], by_text["<tool>"], by_text["[PAD511]"], by_text["a"]) == (3, 4, 5, 1)
    assert len(by_text) == 512


def test_bos_comes_from_the_post_processor(engines):
    backend, _ = engines("llama")
    assert backend.encode("x")[0] == 1
    assert engines("qwen2")[0].encode("x") == engines("qwen2")[1].encode("x").ids


def _sentencepiece(load, tmp_path, adds_prefix):
    from .conftest import save_checkpoint, sentencepiece_tokenizer

    folder = save_checkpoint(
        tmp_path / "model",
        "Llama",
        sentencepiece_tokenizer(),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
    )
    source = json.loads((folder / "tokenizer.json").read_text())
    if not adds_prefix:
        source["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        source["decoder"]["decoders"].pop()  # the one that strips
        (folder / "tokenizer.json").write_text(json.dumps(source))
    return load(folder, extra_buffers="off").backend


def _changed(checkpoints, tmp_path, change):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(checkpoints["qwen3"], folder)
    source = json.loads((folder / "tokenizer.json").read_text())
    change(source)
    (folder / "tokenizer.json").write_text(json.dumps(source))
    return folder


def test_unknown_expression_is_named(load, checkpoints, tmp_path):
    def change(source):
        source["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\p{L}+|my own"}

    with pytest.raises(ModelError, match=r"pre_tokenizer.*my own"):
        load(_changed(checkpoints, tmp_path, change))


def test_other_models_are_named(load, checkpoints, tmp_path):
    with pytest.raises(ModelError, match=r"tokenizer.json: model.type = 'Unigram' is not supported"):
        load(_changed(checkpoints, tmp_path, lambda source: source["model"].update(type="Unigram")))


def test_chat_template_travels(load, checkpoints, tmp_path):
    from gguf import GGUFReader

    folder = _changed(checkpoints, tmp_path, lambda source: None)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": "{{ messages[0].content }}", "eos_token": {"content": "<|im_end|>"}})
    )
    reader = GGUFReader(load(folder).prepared.path)
    assert reader.fields["tokenizer.chat_template"].contents() == "{{ messages[0].content }}"
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    assert tokens[reader.fields["tokenizer.ggml.eos_token_id"].contents()] == "<|im_end|>"

"""The shared tokenizer: lossless on any text, single digits, rebuilt alike, read alike by transformers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from decodebench.plugins.reference.family import END, END_ID, MASK_ID, PAD_ID, SPECIALS, VOCAB_SIZE, WEIGHTS_FOLDER
from examples.tiny_models.recipes import RECIPES
from examples.tiny_models.tokenizer import build_tokenizer

SHIPPED = Tokenizer.from_file(str(WEIGHTS_FOLDER / "target" / "tokenizer.json"))


@given(st.text())
def test_any_text_comes_back_unchanged(text):
    ids = SHIPPED.encode(text, add_special_tokens=False).ids
    if not any(special in text for special in SPECIALS):
        assert SHIPPED.decode(ids) == text
    assert SHIPPED.decode(ids, skip_special_tokens=False) == text


def test_every_digit_is_a_token_of_its_own():
    assert SHIPPED.encode("12+7=19").tokens == ["1", "2", "+", "7", "=", "1", "9"]


def test_special_tokens_have_the_declared_ids():
    assert [SHIPPED.token_to_id(text) for text in SPECIALS] == list(range(END_ID, END_ID + len(SPECIALS)))
    assert SHIPPED.encode(END).ids == [END_ID]
    assert (PAD_ID, MASK_ID) == (END_ID + 1, END_ID + 2)
    assert SHIPPED.get_vocab_size() <= VOCAB_SIZE


def test_shipped_tokenizer_is_what_the_script_builds():
    assert json.loads(build_tokenizer().to_str()) == json.loads(SHIPPED.to_str())


@pytest.mark.parametrize("member", sorted(RECIPES))
def test_autoregressive_members_share_the_tokenizer(member):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (WEIGHTS_FOLDER / member / file).read_bytes() == (WEIGHTS_FOLDER / "target" / file).read_bytes()


def test_transformers_reads_it_alike():
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(WEIGHTS_FOLDER / "target")
    text = "Question: Emma has 12 apples.\nAnswer: e\u0301 12+7=19.\n#### 19"
    assert tokenizer(text)["input_ids"] == SHIPPED.encode(text).ids
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id) == (END_ID, PAD_ID, MASK_ID)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert chat == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"

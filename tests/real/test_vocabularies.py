"""Real models and problems, which packages of the index carry: their tokens, templates and ends."""

from __future__ import annotations

import pytest

from decodebench.core.sdk.chat.template import ChatTemplate
from decodebench.core.sdk.gguf.metadata import read_metadata
from decodebench.core.sdk.gguf.vocabulary import GgufVocabulary
from decodebench.core.sdk.tokenizer import Codec

from ..texts import texts

llama_cpp = pytest.importorskip("llama_cpp")
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]


@pytest.fixture(params=["smollm2", "gemma3"])
def tokenizers(request):
    """The engine's tokenizer of a file, our own of the same, and the file."""
    from decodebench.plugins.llama_cpp.vocabulary import Vocabulary

    file = request.getfixturevalue(request.param)
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(file).encode(), parameters)
    yield Vocabulary(model), GgufVocabulary(read_metadata(file), file.name), file
    llama_cpp.llama_model_free(model)


class Engine:
    """What a codec asks of a backend."""

    supports = frozenset({"tokenizer"})

    def __init__(self, vocabulary):
        self.encode, self.decode = vocabulary.encode, vocabulary.decode


def test_ids_and_texts_are_those_of_the_engine(tokenizers):
    theirs, ours, _ = tokenizers
    # without </s>, a word of Gemma that llama.cpp takes for an end token
    for text in texts(2000, 6, ("<|im_start|>", "<|im_end|>", "<bos>", "<end_of_turn>")):
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        assert ours.decode(ids) == theirs.decode(ids)
    for text in texts(2000, 7):
        assert theirs.decode(theirs.encode(text)) == text


def test_solutions_survive_the_round_trip(tokenizers, humaneval):
    theirs, ours, file = tokenizers
    rows = humaneval
    codecs = [Codec(file, Engine(one)) for one in (theirs, ours)]
    for row in rows:
        prompt, solution = row["prompt"].rstrip(), f"\n{row['canonical_solution']}"
        for codec in codecs:
            assert codec.decode(codec.encode(row["canonical_solution"])) == row["canonical_solution"]
            start, ids = len(codec.encode(prompt)), codec.encode(prompt + solution)
            assert codec.decode_behind(ids[start:]) == solution
    assert len(rows) == 164


def test_a_file_brings_its_template_and_its_ends(smollm2):
    text = ChatTemplate.read(smollm2).render([("system", "Be brief."), ("user", "Hi")])
    assert text == ("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    vocabulary = GgufVocabulary(read_metadata(smollm2), smollm2.name)
    assert Codec(smollm2, Engine(vocabulary)).stop_ids() == (0, 2)

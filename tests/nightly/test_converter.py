"""What we write of a checkpoint is, tensor for tensor, what llama.cpp's own converter writes of it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ..plugins.llama_cpp.conftest import byte_level_tokenizer, save_checkpoint, sentencepiece_tokenizer
from ..plugins.llama_cpp.test_families import FAMILIES
from ..real.conftest import BUILD

pytest.importorskip("llama_cpp")
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]
SOURCE = "llama_cpp_python-0.3.36"

# A process of its own: the converter brings the package gguf of its own day. It knows no tokenizer but published ones,
# so it writes none.
COMPARE = """
import sys
folder, ours, theirs, source = sys.argv[1:]
sys.path[:0] = [source + "/gguf-py", source]
from pathlib import Path
import gguf, numpy as np
from conversion import ModelBase, get_model_class
kind = get_model_class(ModelBase.load_hparams(Path(folder), False)["architectures"][0])
kind.set_vocab = lambda self: None
kind(Path(folder), gguf.LlamaFileType.ALL_F32, Path(theirs), eager=True).write()
ours, theirs = (gguf.GGUFReader(file) for file in (ours, theirs))
a, b = ({t.name: t.data for t in file.tensors} for file in (ours, theirs))
assert a.keys() == b.keys(), a.keys() ^ b.keys()
for name, values in b.items():
    assert np.array_equal(a[name][: len(values)], values), name  # theirs drops Gemma's rows without a token
for key, value in theirs.fields.items():
    arch = key.partition(".")[0]
    if arch in ("general", "GGUF", "tokenizer") or key.endswith("context_length"):
        continue  # the context of a model with a window ends with it
    assert ours.fields[key].contents() == value.contents(), key
"""


@pytest.fixture(scope="module")
def source():
    """The converter, out of the source package of llama-cpp-python."""
    folder = BUILD / SOURCE
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python"]
        BUILD.mkdir(parents=True, exist_ok=True)
        if subprocess.run([*command, "--dest", BUILD, "llama-cpp-python==0.3.36"], check=False).returncode:
            pytest.skip("the source package of llama-cpp-python cannot be downloaded")
        with tarfile.open(BUILD / f"{SOURCE}.tar.gz") as packed:
            wanted = ("/conversion/", "/gguf-py/gguf/")
            members = [member for member in packed if any(part in member.name for part in wanted)]
            packed.extractall(BUILD, members, filter="data")
    return folder / "vendor" / "llama.cpp"


@pytest.mark.parametrize("name", FAMILIES)
def test_tensors_and_settings_are_those_of_the_engine_s_converter(source, tmp_path, name):
    from decodebench.core.sdk.checkpoint import Checkpoint
    from decodebench.core.sdk.gguf.conversion import write_gguf

    family, changes = FAMILIES[name]
    is_pieces = name in ("gemma3", "fused", "mistral")
    tokenizer = sentencepiece_tokenizer() if is_pieces else byte_level_tokenizer("qwen2")
    folder = save_checkpoint(tmp_path / "model", family, tokenizer, **changes)
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    write_gguf(Checkpoint(folder), ours, "f32", "model")
    script = Path(tmp_path / "compare.py")
    script.write_text(COMPARE)
    command = [sys.executable, script, folder, ours, theirs, source]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]

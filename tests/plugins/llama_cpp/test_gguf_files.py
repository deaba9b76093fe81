"""What is read of GGUF files without an engine, and models in several parts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gguf import GGML_QUANT_SIZES, GGUFReader

from decodebench.core.cache import ModelCache
from decodebench.core.errors import ModelError
from decodebench.core.sdk.gguf.facts import inspect_gguf
from decodebench.core.sdk.gguf.parts import find_gguf, parts_of, read_parts
from decodebench.core.sdk.gguf.tensor_types import TENSOR_TYPES

from .test_prepare import prepare

SPLIT = Path(__file__).parents[2] / "data" / "gguf_split"
NAMES = [f"m3 llama-F32-0000{number}-of-00002.gguf" for number in (1, 2)]


def test_number_formats_are_those_of_the_format_s_own_package():
    theirs = {kind.value: (kind.name.lower(), *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    assert {number: (kind.name, kind.block, kind.block_bytes) for number, kind in TENSOR_TYPES.items()} == theirs


@pytest.mark.parametrize("quantisation", ["f32", "q4_k_m", "q5_1"])
def test_tables_are_those_that_the_package_reads(checkpoints, cache, quantisation):
    path = prepare(checkpoints["qwen3"], quantisation, cache).path
    reader = GGUFReader(path)
    theirs = [(t.name, [*map(int, reversed(t.shape))], int(t.n_bytes), int(t.data_offset)) for t in reader.tensors]
    assert [(t.name, [*t.shape], t.nbytes, t.start) for t in read_parts(path).tensors] == theirs
    facts = inspect_gguf(path)
    assert (facts.quantisation, facts.weight_bytes) == (quantisation, sum(nbytes for _, _, nbytes, _ in theirs))


@pytest.mark.parametrize("named", ["", *NAMES])
def test_a_model_in_parts_runs_by_its_folder_and_by_any_part(load, named):
    path = SPLIT / named if named else SPLIT
    loaded = load(path, "f32")
    assert loaded.prepared.path.name == NAMES[0]
    assert loaded.prepared.bits_per_weight == 32
    assert loaded.prepared.weight_bytes == loaded.facts.weight_bytes == inspect_gguf(SPLIT / NAMES[0]).weight_bytes
    assert len(loaded.tokens((1, 5, 9), 8, ignore_eos=True)) == 8


def test_parts_are_joined_for_an_engine_that_reads_one_file(load, tmp_path):
    from decodebench.core.sdk.gguf.preparation import prepare_gguf

    from ..models import resolve

    whole = prepare_gguf(resolve(SPLIT), "f32", ModelCache(tmp_path), in_one_file=True)
    assert parts_of(whole.path) == (whole.path,)
    assert whole.weight_bytes == inspect_gguf(SPLIT / NAMES[0]).weight_bytes
    assert load(whole.path, "f32").tokens((1, 5, 9), 8) == load(SPLIT, "f32").tokens((1, 5, 9), 8)


def test_a_missing_renamed_or_foreign_part_is_named(tmp_path):
    first, second = (tmp_path / name for name in NAMES)
    shutil.copy(SPLIT / NAMES[0], first)
    with pytest.raises(ModelError, match=rf"{second.name} is missing, one of 2 parts"):
        find_gguf(tmp_path)
    shutil.copy(SPLIT / NAMES[0], second)
    with pytest.raises(ModelError, match="says that it is part 1 of 2, its name that it is part 2 of 2"):
        inspect_gguf(first)
    with pytest.raises(ModelError, match="says that it is part 1 of 2, its name that it is part 1 of 1"):
        inspect_gguf(shutil.copy(first, tmp_path / "renamed.gguf"))
    with pytest.raises(ModelError, match=r"holds 2 \.gguf files; name one: .*00001-of.*, renamed\.gguf"):
        find_gguf(tmp_path)


def test_quantised_weights_are_unpacked_but_not_quantised_again(load, checkpoints, cache, tmp_path):
    made = shutil.copy(prepare(checkpoints["qwen3"], "q8_0", cache).path, tmp_path / "mine.gguf")
    unpacked = load(Path(made), "f32")
    assert unpacked.prepared.bits_per_weight == 32 and unpacked.prepared.notes == ("weights from q8_0",)
    with pytest.raises(ModelError, match="ask for q8_0, or for f32, f16 or bf16"):
        prepare(Path(made), "q4_0", cache)


def test_a_conversion_that_the_disk_has_no_room_for_says_how_much_it_takes(checkpoints, tmp_path, monkeypatch):
    cache = ModelCache(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 2**20))
    with pytest.raises(ModelError, match=r"gguf-qwen3-q8_0 takes about \d+\.\d [KM]iB of disk .* has 1\.0 MiB free"):
        prepare(checkpoints["qwen3"], "q8_0", cache)
    assert not [path for path in tmp_path.glob("*") if path.is_dir()]

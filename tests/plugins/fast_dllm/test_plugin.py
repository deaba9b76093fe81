"""The backend as the host and a user see it: what is refused before anything loads, what is said, what is recorded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from decodebench import BackendError, ModelError, PlannedCell, Request, UsageError
from decodebench.core.measure.timed_loop import measure
from decodebench.core.records.workload import LATER, Workload
from decodebench.plugins.fast_dllm.backend import FastDllmBackend
from decodebench.plugins.fast_dllm.options import FastDllmOptions
from decodebench.plugins.fast_dllm.variant import Variant

from ..models import TINY, resolve
from .checkpoints import MASK, STOP, save


def checked(folder, workload=None, **options):
    settings = FastDllmOptions.model_validate(options)
    cell = PlannedCell(resolve(folder), "none", "cpu", settings, Workload(**(workload or {})))
    found = FastDllmBackend.preflight(cell)
    if found.errors:
        raise UsageError("; ".join(found.errors))
    return list(found.notes)


def loaded(folder, **options):
    settings = FastDllmOptions.model_validate({"n_threads": 1, **options})
    backend = FastDllmBackend()
    facts = backend.load(FastDllmBackend.prepare(resolve(folder), "none", "cpu", settings, None), "cpu", settings)
    return backend, facts


def test_importing_and_probing_import_no_engine():
    code = (
        "import sys; from decodebench.plugins.fast_dllm import FastDllmBackend as B; "
        "print(B.probe().available, len(B.quantisations()), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "1", "False", "False"]


@pytest.mark.parametrize(("family", "shifted", "block"), [("v2", True, 8), ("dream", True, 32), ("llada", False, 32)])
def test_the_variant_is_read_from_the_checkpoint(folders, family, shifted, block):
    variant = Variant.read(folders[family])
    assert (variant.name, variant.is_shifted, variant.block_length) == (family, shifted, block)
    assert variant.mask(None, folders[family]) == MASK
    assert checked(folders[family], {"max_new_tokens": 64}) == []
    _, facts = loaded(folders[family])
    assert facts.context_length == 512 and facts.vocabulary_size == 64
    assert facts.settings["variant"] == family and facts.settings["mask_id"] == str(MASK)


def test_the_published_sizes_of_real_configurations_are_understood(tmp_path):
    """The published 7B files' keys, without their weights."""
    real = {
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064, "bd_size": 32, "max_position_embeddings": 32768,
    }  # fmt: skip
    variant = Variant.read(save(tmp_path / "v2", "v2", **real))
    assert (variant.config.head_dim, variant.config.kv_heads, variant.block_length) == (128, 4, 32)
    real = {
        "d_model": 4096, "n_heads": 32, "n_kv_heads": 32, "n_layers": 32, "mlp_hidden_size": 12288,
        "embedding_size": 126464, "vocab_size": 126464, "mask_token_id": 126336, "eos_token_id": 126081,
        "max_sequence_length": 4096,
    }  # fmt: skip
    variant = Variant.read(save(tmp_path / "llada", "llada", **real))
    assert (variant.config.head_dim, variant.config.ffn, variant.mask_id) == (128, 12288, 126336)


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("llada", {"gen_length": 100}, "gen_length = 100"),
        ("llada", {"gen_length": 64, "steps": 7}, "steps = 7"),
        ("llada", {"gen_length": 32}, "gen_length = 32 is below max_new_tokens = 64"),
        ("llada", {"cache": "sub-block"}, "cache = 'sub-block' does not exist for a llada model: none, prefix, dual"),
        ("llada", {"reuse": "stale-logits"}, "reuse = 'stale-logits' does not exist for a llada model"),
        ("llada", {"alg_temp": 0.5, "steps": 8}, "alg_temp = 0.5 does not exist for a llada model"),
        ("llada", {"remasking": "origin", "steps": 8, "cache": "none"}, "remasking = 'origin' is that of dream models"),
        ("dream", {"remasking": "origin", "steps": 8}, "give cache=none"),
        ("dream", {"cfg_scale": 1.5}, "cfg_scale = 1.5 does not exist for a dream model"),
        ("dream", {"logits_eos_inf": True}, "logits_eos_inf = True does not exist for a dream model"),
        ("v2", {"confidence_eos_eot_inf": True}, "confidence_eos_eot_inf = True does not exist for a v2 model"),
        ("v2", {"steps": 8}, "steps = 8 does not exist for a v2 model"),
        ("v2", {"cache": "dual"}, "cache = 'dual' does not exist for a v2 model: block, sub-block"),
        ("v2", {"small_block_size": 9}, "small_block_size = 9 is larger than a block of 8"),
        ("v2", {"reuse": "published", "reuse_k": 2, "layer_subset": "last"}, "needs cache = 'sub-block'"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_loads(folders, family, options, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        checked(folders[family], {"max_new_tokens": 64}, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.0},
        {"threshold": 1.1},
        {"factor": 0},
        {"reuse": "published"},
        {"reuse_k": 2},
        {"layer_subset": "first"},
        {"gen_length": 10, "block_length": 4},
        {"cache": "everything"},
        {"remasking": "entropy"},
        {"remasking": "origin"},
        {"alg_temp": 0.5},
        {"alg_temp": 0.5, "steps": 8, "remasking": "origin"},
        {"alg_temp": -1.0, "steps": 8},
        {"cfg_scale": -0.5},
        {"confidence_eos_eot_inf": True, "remasking": "random"},
        {"reuse": "published-january", "layer_subset": "first", "reuse_k": 2},
    ],
)
def test_values_outside_their_range_are_refused(options):
    with pytest.raises(ValidationError):
        FastDllmOptions.model_validate(options)


def test_options_that_came_later_leave_older_cells_their_identity():
    later = {"alg_temp", "cfg_scale", "logits_eos_inf", "confidence_eos_eot_inf"}
    fields = FastDllmOptions.model_fields
    assert {name for name, field in fields.items() if field.json_schema_extra == LATER} == later
    assert later <= set(FastDllmOptions().model_dump(mode="json")), "logs have every option"


def test_an_end_token_that_no_file_names_is_asked_for(tmp_path):
    folder = save(tmp_path / "llada", "llada", eos_token_id=None)
    assert checked(folder) == []
    with pytest.raises(ModelError, match="eos_token_id = None"):
        checked(folder, logits_eos_inf=True)


def test_another_architecture_is_refused_with_the_known_ones():
    with pytest.raises(ModelError, match="'Qwen3ForCausalLM'"):
        checked(TINY)


def test_a_mask_outside_the_vocabulary_is_refused(folders, tmp_path):
    with pytest.raises(ModelError, match="mask_id = 64 is outside the vocabulary of 64 ids"):
        checked(folders["v2"], mask_id=64)
    nameless = save(tmp_path / "v2", "v2")
    (nameless / "added_tokens.json").unlink()
    with pytest.raises(ModelError, match="neither config.json nor the tokenizer names a mask token"):
        checked(nameless)
    assert checked(nameless, mask_id=63) == []


@pytest.mark.parametrize(("key", "value"), [("alibi", True), ("block_type", "sequential"), ("include_bias", True)])
def test_an_unknown_feature_of_llada_is_refused(tmp_path, key, value):
    with pytest.raises(ModelError, match=f"{key} = {value!r} is not supported"):
        checked(save(tmp_path / "llada", "llada", **{key: value}))


def test_missing_and_misshapen_tensors_are_named(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path / "llada", "llada")
    tensors = load_file(folder / "model.safetensors")
    name = "model.transformer.blocks.2.ff_proj.weight"
    save_file({**tensors, name: tensors[name][:5].clone()}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="has shape"):
        loaded(folder)
    save_file({key: value for key, value in tensors.items() if key != name}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"tensor '{name}' is missing"):
        loaded(folder)


def test_a_sweep_over_steps_beside_a_threshold_is_refused_and_one_run_is_warned(folders, cli, tmp_path):
    common = (
        "-b",
        "fast-dllm",
        "-m",
        folders["llada"],
        "--prompt-tokens",
        4,
        "--output-tokens",
        32,
        "--dry-run",
        "--no-probe",
    )
    swept = cli("run", *common, "--set", "threshold=0.9", "--set", "steps=8,16", "-o", tmp_path)
    assert swept.code == 2 and "steps has no effect with threshold, so 8 and 16 are the same experiment" in swept.err
    single = cli("run", *common, "--set", "threshold=0.9", "--set", "steps=8", "-o", tmp_path)
    assert single.code == 0 and "steps = 8 has no effect with threshold" in single.out + single.err
    quota = cli("run", *common, "--set", "steps=8,16", "-o", tmp_path)
    assert quota.code == 0, quota.err


def test_what_a_reader_must_know_is_said(folders):
    reuse = {"reuse": "published", "layer_subset": "middle", "cache": "sub-block"}
    assert "layer_subset cannot change the text" in checked(folders["v2"], **reuse, reuse_k=2)[0]
    assert "recomputes every step" in checked(folders["v2"], **reuse, reuse_k=1)[0]
    assert "not the published one" in checked(folders["v2"], **{**reuse, "reuse": "residual"}, reuse_k=2)[0]
    assert "trained with blocks of 8" in checked(folders["v2"], block_length=4)[0]
    assert "one step per block" in checked(folders["dream"], {"max_new_tokens": 64}, steps=2)[0]
    assert checked(folders["dream"], {"max_new_tokens": 64}, steps=2, cache="none") == []
    assert "cfg_scale = 1.5" in checked(folders["llada"], {"max_new_tokens": 64}, cfg_scale=1.5)[0]
    assert "a canvas of 64 masks for 50 tokens" in checked(folders["llada"], {"max_new_tokens": 50})[0]
    with pytest.raises(UsageError, match="one prompt at a time: batch_size = 2"):
        checked(folders["v2"], {"batch_size": 2}, **reuse, reuse_k=2)


def test_a_prompt_with_the_mask_or_without_tokens_is_refused(folders):
    backend, _ = loaded(folders["v2"])
    with pytest.raises(ModelError, match="mask token, id 63"):
        list(backend.generate([Request((5, MASK), 8)]))
    with pytest.raises(BackendError, match="no tokens"):
        list(backend.generate([Request((), 8)]))


def test_closing_the_iterator_early_leaves_a_usable_backend(folders):
    backend, _ = loaded(folders["v2"], threshold=0.2)
    request = Request((5, 6, 7), 24, stop_token_ids=(STOP,))
    whole = measure(backend, [request]).rows[0].ids
    stream = backend.generate([request])
    next(stream)
    stream.close()
    assert measure(backend, [request]).rows[0].ids == whole


@pytest.mark.nightly
def test_compiled_and_plain_networks_agree(folders):
    request = Request((5, 6, 7, 8), 16)
    plain, compiled = (loaded(folders["v2"], compile=flag, threshold=0.3)[0] for flag in (False, True))
    assert measure(plain, [request]).rows[0].ids == measure(compiled, [request]).rows[0].ids


def test_a_run_is_recorded_with_what_each_forward_did(cli, tmp_path):
    ended = cli(
        "run", "-b", "fast-dllm", "-m", "tiny:block-diffusion", "--task", "tiny-gsm", "--samples", 3, "--rounds", 1,
        "--set", "n_threads=1", "--set", "cache=sub-block", "-o", tmp_path,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = cli(
        "query",
        "SELECT s.output_tokens, s.output_ids, sum(t.tokens), sum(t.forwards), list(t.trace->>'forward'), "
        "any_value(s.engine), list_sort(flatten(list(t.positions))), any_value(s.finish) FROM samples s "
        "JOIN steps t ON t.run_id = s.run_id AND t.sample = s.index WHERE NOT s.is_warmup "
        "GROUP BY s.run_id, s.index, s.output_tokens, s.output_ids",
        tmp_path,
        "--json",
    ).rows
    assert len(found) == 3
    for tokens, ids, committed, forwards, kinds, engine, positions, finish in found:
        engine = json.loads(engine) if isinstance(engine, str) else engine
        assert tokens == len(ids) == committed and positions == list(range(tokens))
        assert forwards == sum(v for name, v in engine.items() if name.startswith("forwards_"))
        assert {"narrow", "commit"} <= set(kinds)
        assert finish == "stop" and engine["raw_canvas_tokens"] % 1 == 0 and engine["raw_canvas_tokens"] >= tokens

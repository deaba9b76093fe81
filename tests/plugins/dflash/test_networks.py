"""Target and draft against what they must compute: transformers, and the published formula written out."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from decodebench import ModelError
from decodebench.core.sdk.torch_layers.place import Rows, Span
from decodebench.core.sdk.torch_layers.rotary import Rotary
from decodebench.core.sdk.torch_layers.tree_place import Tree
from decodebench.plugins.dflash.draft import Draft
from decodebench.plugins.dflash.draft_config import DraftConfig, published_layer_ids
from decodebench.plugins.dflash.target import Target

from ..models import LINEAR, LLAMA3, torch_model
from .checkpoints import (
    draft_config,
    draft_shapes,
    draft_tensors,
    edit_config,
    save_draft,
    save_random_draft,
    save_target,
)

TOLERANCE = dict(atol=2e-4, rtol=2e-4)
EXPERTS = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
IDS = torch.tensor([[5, 9, 33, 61, 7, 7, 12, 40, 3, 28, 50, 1]])


def opened(folder, dtype=torch.float32, rows=1):
    target = Target(folder, dtype, "cpu")
    target.reserve(rows, 64)
    return target


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Qwen3", {}),
        ("Qwen3", {"tie_word_embeddings": True}),
        ("Qwen2", {}),
        ("Llama", {}),
        ("Llama", {"rope_parameters": LLAMA3, "attention_bias": True}),
        ("Qwen2", {"rope_parameters": LINEAR, "num_key_value_heads": 4}),
        ("Qwen3Moe", EXPERTS | {"norm_topk_prob": True}),
        ("Qwen3Moe", EXPERTS | {"mlp_only_layers": [1]}),
        ("Qwen3Moe", EXPERTS | {"decoder_sparse_step": 2, "num_experts_per_tok": 4}),
    ],
)
def test_target_is_the_model_of_transformers(tmp_path, family, changes):
    folder = save_target(tmp_path, family, **changes)
    model = torch_model(folder)
    with torch.inference_mode():
        truth = model(IDS, output_hidden_states=True)
        target = opened(folder)
        last, features = target.prefill_row(IDS[:, :7], 0, taps=(0, 2))
        logits, more = target.evaluate(IDS[:, 7:], Span(7, 5), taps=(0, 2))
    torch.testing.assert_close(last[:, 0], truth.logits[:, 6], **TOLERANCE)
    torch.testing.assert_close(logits, truth.logits[:, 7:], **TOLERANCE)
    tapped = torch.cat([truth.hidden_states[1], truth.hidden_states[3]], dim=-1)  # the last one is normalised
    torch.testing.assert_close(torch.cat([features, more], dim=1), tapped, **TOLERANCE)
    assert target.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_long_prompts_are_prefilled_in_chunks(target_folder, monkeypatch):
    from decodebench.core.sdk.torch_layers import causal_lm as module

    whole, chunked = opened(target_folder), opened(target_folder)
    with torch.inference_mode():
        expected = whole.prefill_row(IDS, 0, (1,))
        monkeypatch.setattr(module, "_PREFILL_CHUNK", 5)
        got = chunked.prefill_row(IDS, 0, (1,))
    for one, other in zip(expected, got, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)
    torch.testing.assert_close(whole.cache.rows(1)[..., :12, :, :], chunked.cache.rows(1)[..., :12, :, :], **TOLERANCE)


def test_rows_of_different_lengths_are_evaluated_as_if_alone(target_folder):
    together = opened(target_folder, rows=2)
    alone = [opened(target_folder), opened(target_folder)]
    with torch.inference_mode():
        together.prefill_row(IDS[:, :7], 0)
        together.prefill_row(IDS[:, :4], 1)
        alone[0].prefill_row(IDS[:, :7], 0)
        alone[1].prefill_row(IDS[:, :4], 0)
        blocks = torch.cat([IDS[:, 7:11], IDS[:, 4:8]])
        both, _ = together.evaluate(blocks, Rows([7, 4], [4, 3], "cpu"))
        first, _ = alone[0].evaluate(blocks[:1], Span(7, 4))
        second, _ = alone[1].evaluate(blocks[1:, :3], Span(4, 3))
    torch.testing.assert_close(both[:1], first, **TOLERANCE)
    torch.testing.assert_close(both[1:, :3], second, **TOLERANCE)


def test_each_branch_of_a_tree_is_evaluated_as_if_alone(target_folder):
    """Anchor 8 with branches 9-10 and 9-20 and 30: the nodes of a branch see the past and one another only."""
    tokens, depths = [8, 9, 10, 20, 30], [0, 1, 2, 2, 1]
    parents = [-1, 0, 1, 1, 0]
    ancestors = torch.eye(5, dtype=torch.bool)
    for node in range(1, 5):
        ancestors[node] |= ancestors[parents[node]]
    tree_target = opened(target_folder)
    with torch.inference_mode():
        tree_target.prefill_row(IDS[:, :6], 0)
        logits, _ = tree_target.evaluate(torch.tensor([tokens]), Tree(6, depths, ancestors))
        for path in ([0, 1, 2], [0, 1, 3], [0, 4]):
            chain = opened(target_folder)
            chain.prefill_row(IDS[:, :6], 0)
            expected, _ = chain.evaluate(torch.tensor([[tokens[n] for n in path]]), Span(6, len(path)))
            torch.testing.assert_close(logits[:, path], expected, **TOLERANCE)


@pytest.mark.nightly
def test_compiled_networks_give_the_same_numbers(target_folder):
    plain, compiled = opened(target_folder), Target(target_folder, torch.float32, "cpu", is_packed=False)
    compiled.reserve(1, 64)
    compiled.compile()
    with torch.inference_mode():
        for n in (1, 5, 8):
            expected, _ = plain.evaluate(IDS[:, :n], Span(0, n))
            got, _ = compiled.evaluate(IDS[:, :n], Span(0, n))
            torch.testing.assert_close(got, expected, **TOLERANCE)


# --- the draft

NESTED = {"target_layer_ids": [0], "mask_token_id": 3}


def rms(x, weight):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def turn(x, positions, theta=10000.0):
    """Rotate [T, heads, d] the way Hugging Face does."""
    d = x.shape[-1]
    angles = positions[:, None].float() / theta ** (torch.arange(0, d, 2).float() / d)
    angles = torch.cat([angles, angles], -1)[:, None]
    half = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], -1)
    return x * angles.cos().to(x.dtype) + half * angles.sin().to(x.dtype)


def written_out(weights, config, features, block, views):
    """The published forward pass of one sequence: features [c, taps x H], block embeddings [b, H] behind them.

    ``views``: for each layer whether it is causal, and its window.
    """
    heads, kv, d = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    context = rms(features @ weights["fc.weight"].T, weights["hidden_norm.weight"])
    c, b = len(context), len(block)
    positions = torch.arange(c + b)
    h = block
    for layer in range(config["num_hidden_layers"]):
        w = {name.removeprefix(f"layers.{layer}."): t for name, t in weights.items() if f"layers.{layer}." in name}
        n = rms(h, w["input_layernorm.weight"])
        both = torch.cat([context, n])

        def project(x, name, w=w):
            bias = w.get(f"self_attn.{name}_proj.bias")
            out = x @ w[f"self_attn.{name}_proj.weight"].T
            return out if bias is None else out + bias

        q = turn(rms(project(n, "q").view(b, heads, d), w["self_attn.q_norm.weight"]), positions[c:])
        k = turn(rms(project(both, "k").view(c + b, kv, d), w["self_attn.k_norm.weight"]), positions)
        v = project(both, "v").view(c + b, kv, d)
        k, v = (t.repeat_interleave(heads // kv, dim=1) for t in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) / d**0.5
        is_causal, window = views[layer]
        ahead = positions[None, :] - positions[c:, None]
        hidden = (ahead > 0) & is_causal | (ahead.abs() >= (window or c + b))
        scores = scores.masked_fill(hidden, -torch.inf)
        mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).reshape(b, heads * d)
        h = h + project(mixed, "o")
        n = rms(h, w["post_attention_layernorm.weight"])
        gate, up = n @ w["mlp.gate_proj.weight"].T, n @ w["mlp.up_proj.weight"].T
        h = h + (torch.nn.functional.silu(gate) * up) @ w["mlp.down_proj.weight"].T
    return rms(h, weights["norm.weight"])


WINDOWED = {"use_sliding_window": True, "sliding_window": 6, "layer_types": ["sliding_attention"] * 2}
HYBRID = WINDOWED | {"layer_types": ["sliding_attention", "full_attention"]}
VIEWS = [
    ({}, [(False, None)] * 2),
    ({"attention_bias": True}, [(False, None)] * 2),
    (WINDOWED, [(True, 6)] * 2),
    (HYBRID, [(True, 6), (False, None)]),
    (HYBRID | {"is_causal": False}, [(False, 6), (False, None)]),
    (HYBRID | {"dflash_config": {"causal": True}}, [(True, 6), (True, None)]),
    ({"dflash_config": {"causal": True}}, [(True, None)] * 2),
    (
        {"layer_types": None, "sliding_window": 6, "use_sliding_window": True, "max_window_layers": 1},
        [(False, None), (True, 6)],
    ),
    ({"layer_types": None, "dflash_config": {"use_swa": True, "swa_window_size": 5}}, [(False, 5)] * 2),
    ({"dflash_config": {"use_swa": True, "swa_window_size": 5, "causal": True}}, [(True, 5)] * 2),
]


@pytest.mark.parametrize(("changes", "views"), VIEWS)
def test_a_draft_that_reuses_its_context_is_the_published_forward(tmp_path, changes, views):
    folder = save_random_draft(tmp_path, **changes)
    config = json.loads((folder / "config.json").read_text())
    weights = {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 13, 64, generator=generator).double()
    draft = Draft(folder, torch.float64, "cpu")
    draft.reserve(1, 64)
    with torch.inference_mode():
        for seen, length in ((0, 5), (5, 3), (8, 5)):  # three cycles: a prompt, then what each cycle committed
            draft.absorb(features[:, seen : seen + length], Span(seen, length))
            block = torch.randn(1, 8, 32, generator=generator).double()
            got = draft.forward(block, Span(seen + length, 8))
            expected = written_out(weights, config, features[0, : seen + length], block[0], views)[1:]
            torch.testing.assert_close(got[0], expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("changes", [{}, HYBRID, HYBRID | {"is_causal": False}])
def test_rows_draft_as_if_alone(tmp_path, changes):
    folder = save_random_draft(tmp_path, **changes)
    draft, alone = Draft(folder, torch.float64, "cpu"), Draft(folder, torch.float64, "cpu")
    draft.reserve(2, 64)
    alone.reserve(1, 64)
    features = torch.randn(2, 9, 64, generator=torch.Generator().manual_seed(1)).double()
    block = torch.randn(2, 8, 32, generator=torch.Generator().manual_seed(2)).double()
    with torch.inference_mode():
        for row, length in enumerate((9, 4)):
            draft.absorb(features[row : row + 1, :length], Span(0, length), draft.cache.rows(1, row))
        draft.absorb(features[:, :3], Rows([9, 4], [3, 2], "cpu"))
        got = draft.forward(block, Rows([12, 6], [8, 5], "cpu"))
        for row, (length, more, size) in enumerate(((9, 3, 8), (4, 2, 5))):
            alone.absorb(features[row : row + 1, :length], Span(0, length))
            alone.absorb(features[row : row + 1, :more], Span(length, more))
            expected = alone.forward(block[row : row + 1, :size], Span(length + more, size))
            torch.testing.assert_close(got[row : row + 1, : size - 1], expected)


@pytest.mark.parametrize(
    "rope",
    [
        {
            "factor": 32.0,
            "original_max_position_embeddings": 4096,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
        },
        {"factor": 4.0, "original_max_position_embeddings": 64},
        {"factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16.0, "beta_slow": 2.0},
        {"factor": 8.0, "original_max_position_embeddings": 64, "attention_factor": 1.7},
        {"factor": 8.0, "original_max_position_embeddings": 64, "mscale": 1.2, "mscale_all_dim": 0.6},
    ],
)
def test_yarn_turns_as_transformers_does(tmp_path, rope):
    from transformers import Qwen3Config
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

    rope = {"rope_type": "yarn", "rope_theta": 150000.0, **rope}
    folder = save_random_draft(tmp_path, head_dim=64, rope_parameters=rope)
    config = DraftConfig.read(folder).decoder
    table = Rotary(config, torch.float32, "cpu")
    table.reserve(300)
    truth = Qwen3RotaryEmbedding(
        Qwen3Config(hidden_size=32, head_dim=64, max_position_embeddings=512, rope_parameters=rope)
    )
    cos, sin = truth(torch.zeros(1), torch.arange(300)[None])
    torch.testing.assert_close(table.cos[:300], cos[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(table.sin[:300, 32:], sin[0, :, 32:], atol=1e-5, rtol=1e-5)


# --- checkpoints


def test_a_draft_is_saved_and_loaded_under_the_published_names(tmp_path):
    folder = save_random_draft(tmp_path / "plain")
    config = json.loads((folder / "config.json").read_text())
    stored = load_file(folder / "model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in stored.items()} == draft_shapes(config)
    draft = Draft(folder, torch.float32, "cpu")
    assert draft.parameters == sum(tensor.numel() for tensor in stored.values())
    assert (draft.config.block_size, draft.config.mask_token_id, draft.config.target_layer_ids) == (8, 63, (0, 1))
    prefixed = Draft(save_random_draft(tmp_path / "prefixed", prefix="model."), torch.float32, "cpu")
    assert prefixed.parameters == draft.parameters


def test_keys_are_read_from_where_either_generation_of_checkpoints_keeps_them(tmp_path):
    folder = save_random_draft(tmp_path)
    edit_config(
        folder,
        block_size=None,
        rope_theta=None,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
        dflash_config={"block_size": 12},
        target_layer_ids=[1, 0],
        mask_token_id=7,
    )
    config = Draft(folder, torch.float32, "cpu").config
    assert (config.block_size, config.target_layer_ids, config.mask_token_id) == (12, (1, 0), 7)
    assert config.decoder.rope_theta == 5e5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["Qwen3ForCausalLM"]}, ["architecture 'Qwen3ForCausalLM'", "DFlashDraftModel"]),
        ({"dflash_config": {"mask_token_id": 3}}, ["target_layer_ids is missing"]),
        ({"dflash_config": {"target_layer_ids": [0, 1]}}, ["mask_token_id = None"]),
        (
            {"dflash_config": {"target_layer_ids": [0, 1], "mask_token_id": 64}},
            ["mask_token_id = 64", "vocab_size = 64"],
        ),
        ({"dflash_config": {"target_layer_ids": [], "mask_token_id": 3}}, ["target_layer_ids = []"]),
        ({"block_size": None}, ["block_size = None"]),
        ({"layer_types": ["sliding_attention"] * 2}, ["use_sliding_window = False"]),
        ({"layer_types": ["sliding_attention"] * 2, "use_sliding_window": None}, ["use_sliding_window = None"]),
        ({"layer_types": ["sliding_attention"] * 2, "use_sliding_window": True}, ["sliding_window = None"]),
        ({**WINDOWED, "sliding_window": 0}, ["sliding_window = 0"]),
        ({**WINDOWED, "use_sliding_window": "yes"}, ["use_sliding_window = 'yes'"]),
        ({**WINDOWED, "is_causal": "no"}, ["is_causal = 'no'"]),
        ({**WINDOWED, "dflash_config": NESTED | {"swa_window_size": 9}}, ["sliding_window = 6", "swa_window_size = 9"]),
        ({"dflash_config": NESTED | {"use_swa": True}}, ["sliding_window = None", "use_swa"]),
        ({"layer_types": ["chunked"]}, ["layer_types = ['chunked']"]),
        ({"dflash_config": [1]}, ["dflash_config = [1]"]),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}, ["longrope"]),
        ({"rope_scaling": {"rope_type": "yarn", "factor": -4.0}}, ["factor = -4.0"]),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, ["rope_parameters.full_attention"]),
        ({"rope_scaling": {"rope_type": "default", "interleaved": True}}, ["rope_scaling.interleaved = True"]),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": "32"}}, ["beta_fast = '32'"]),
        *(
            ({name: value}, [f"{name} = {value!r}"])
            for name, value in {
                "output_multiplier": 0.196,
                "final_logit_softcapping": 20.0,
                "attention_sink_bias": True,
                "attention_value_scale": 0.612,
                "embedding_multiplier": 12.0,
                "projector_type": "linear",
                "v_head_dim": 4,
                "conv_kernel_size": 2,
            }.items()
        ),
        ({"dflash_config": NESTED | {"output_multiplier": 0.196}}, ["dflash_config.output_multiplier = 0.196"]),
        ({"dflash_config": NESTED | {"shift_label": True}}, ["dflash_config.shift_label = True"]),
        ({"dflash_config": NESTED | {"projector_type": "domino"}}, ["projector_type = 'domino'", "recurrent"]),
        ({"architectures": ["DFlash2DraftModel"]}, ["DFlash2DraftModel", "path selector"]),
        ({"architectures": ["Qwen3DSparkModel"]}, ["Qwen3DSparkModel", "Markov head"]),
    ],
)
def test_a_configuration_that_cannot_work_names_file_key_and_value(tmp_path, changes, words):
    folder = save_random_draft(tmp_path)
    edit_config(folder, **changes)
    with pytest.raises(ModelError) as caught:
        Draft(folder, torch.float32, "cpu")
    for word in [str(folder / "config.json"), *words]:
        assert word in str(caught.value)


def test_fields_that_say_nothing_are_passed_over(tmp_path):
    harmless = {
        "output_multiplier": 1.0,
        "final_logit_softcapping": None,
        "attention_sink_bias": False,
        "v_head_dim": 8,
    }
    nested = NESTED | {"projector_type": "dflash", "num_anchors": 4096, "loss_decay_gamma": 7.0, "causal": None}
    folder = save_random_draft(tmp_path)
    edit_config(folder, **harmless, dflash_config=nested, num_local_experts=32, _commit_hash="0")
    assert DraftConfig.read(folder).causal == (False, False)


@pytest.mark.parametrize(
    ("target", "draft", "ids"),
    [
        (36, 5, [1, 9, 17, 25, 33]),
        (28, 5, [1, 7, 13, 19, 25]),
        (48, 5, [1, 12, 23, 34, 45]),
        (32, 5, [1, 8, 15, 22, 29]),
        (64, 5, [1, 16, 31, 46, 61]),
        (36, 1, [18]),
        (4, 2, [1, 1]),
    ],
)
def test_layers_are_never_guessed_but_the_published_guess_is_told(tmp_path, target, draft, ids):
    assert published_layer_ids(target, draft) == ids
    layers = {"num_hidden_layers": draft, "layer_types": ["full_attention"] * draft}
    folder = save_random_draft(tmp_path, num_target_layers=target, **layers)
    edit_config(folder, dflash_config={"mask_token_id": 63})
    with pytest.raises(ModelError, match=re.escape(f"would guess {ids}")):
        Draft(folder, torch.float32, "cpu")


def test_missing_unexpected_and_misshapen_tensors_are_named(tmp_path):
    config = draft_config()
    whole = draft_tensors(config)
    cases = {
        "missing": (
            {n: t for n, t in whole.items() if n != "layers.1.mlp.up_proj.weight"},
            "layers.1.mlp.up_proj.weight",
        ),
        "unexpected": (whole | {"lm_head.weight": torch.zeros(64, 32)}, "lm_head.weight"),
        "misshapen": (whole | {"fc.weight": torch.zeros(32, 96)}, "[32, 96]"),
        "mlp bias": (whole | {"layers.0.mlp.up_proj.bias": torch.zeros(40)}, "layers.0.mlp.up_proj.bias"),
    }
    for name, (tensors, word) in cases.items():
        save_draft(tmp_path / name, config, tensors)
        with pytest.raises(ModelError, match="tensor") as caught:
            Draft(tmp_path / name, torch.float32, "cpu")
        assert word in str(caught.value), name

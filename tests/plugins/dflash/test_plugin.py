"""The backend as the host and a user see it: checks before anything loads, runs, records and presets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from decodebench import ModelCache, ModelError, PlannedCell, Request, UsageError
from decodebench.core.records.workload import Workload
from decodebench.plugins.dflash.backend import DFlashBackend
from decodebench.plugins.dflash.options import DFlashOptions

from ..models import assert_shares_a_prompt, resolve
from .checkpoints import edit_config, save_random_draft, save_target

TESTS_DATA = Path(__file__).parents[2] / "data" / "dflash"


def paired(target, draft=None):
    from dataclasses import replace

    model = resolve(target)
    return replace(model, companions={"dflash": resolve(draft)}) if draft else model


def checked(model, temperature=0.0, batch_size=1, **options):
    settings = DFlashOptions.model_validate(options)
    found = preflight(model, settings, temperature=temperature, batch_size=batch_size)
    if found.errors:
        raise UsageError("; ".join(found.errors))
    return list(found.notes)


def preflight(model, options, **workload):
    return DFlashBackend.preflight(PlannedCell(model, "none", "cpu", options, Workload(**workload)))


def test_importing_and_probing_import_no_engine():
    code = (
        "import sys; from decodebench.plugins.dflash import DFlashBackend as B; "
        "print(B.probe().available, len(B.quantisations()), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "1", "False", "False"]


def test_a_pair_that_fits_has_nothing_to_say(target_folder, draft_folder):
    assert checked(paired(target_folder, draft_folder)) == []
    assert checked(paired(target_folder), block_size=1) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": 64}, ["hidden_size = 64", "has 32", "another target"]),
        ({"vocab_size": 100}, ["vocab_size = 100", "has 64"]),
        ({"num_target_layers": 36}, ["num_target_layers = 36", "num_hidden_layers = 3"]),
        ({"dflash_config": {"mask_token_id": 63, "target_layer_ids": [0, 3]}}, ["target_layer_ids = [0, 3]", "0 to 2"]),
        ({"dflash_config": {"target_layer_ids": [0]}}, ["mask_token_id = None"]),
    ],
)
def test_a_draft_for_another_target_is_refused_before_anything_loads(tmp_path, target_folder, changes, words):
    draft = save_random_draft(tmp_path)
    edit_config(draft, **changes)
    with pytest.raises(ModelError) as caught:
        checked(paired(target_folder, draft))
    for word in [str(draft / "config.json"), *words]:
        assert word in str(caught.value)


def test_a_target_of_another_family_is_refused(tmp_path, draft_folder):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["OPTForCausalLM"]}))
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(ModelError, match="architecture 'OPTForCausalLM' is not supported"):
        checked(paired(tmp_path, draft_folder))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"candidate_mode": "branch_beam", "temperature": 0.7}, "candidate_mode = 'branch_beam' needs temperature = 0"),
        ({"candidate_mode": "branch_beam", "batch_size": 2}, "one prompt at a time: batch_size = 2"),
        ({"compat": "published", "batch_size": 2}, "compat = 'published'"),
        ({"compat": "published-original", "batch_size": 2}, "compat = 'published-original'"),
        ({"round_block_sizes": (8, 4)}, "temperature = 0 must be above 0"),
        ({"round_block_sizes": (8, 4), "temperature": 1.0, "batch_size": 3}, "round_block_sizes"),
    ],
)
def test_options_that_do_not_go_with_the_workload_are_refused(target_folder, draft_folder, arguments, words):
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        checked(paired(target_folder, draft_folder), **arguments)


def test_without_a_draft_the_option_is_named(target_folder):
    with pytest.raises(UsageError, match=r"--set dflash.draft="):
        checked(paired(target_folder))


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"block_size": 12}, "blocks of 12 are longer than those that the draft was trained with (8)"),
        ({"scheduler": "ewma"}, "blocks of 16 are longer"),
        ({"acceptance": "rejection"}, "acceptance = 'rejection' is for temperature above 0"),
        (
            {"candidate_mode": "fixed_prefix_rank", "max_candidates": 6, "branch_top_k": 3},
            "max_candidates = 6 is clamped to branch_top_k = 3",
        ),
        (
            {"candidate_mode": "branch_beam", "adaptive_candidates": True},
            "adaptive_budgets = [1, 4, 8] are clamped to max_candidates = 4",
        ),
    ],
)
def test_what_is_done_in_another_way_is_said(target_folder, draft_folder, options, note):
    (said,) = checked(paired(target_folder, draft_folder), **options)
    assert note in said


@pytest.mark.parametrize(
    ("options", "name", "reason"),
    [
        ({"block_size": 1, "seed_mode": "dense"}, "seed_mode", "with block_size = 1, which drafts nothing"),
        ({}, "seed_max_tokens", "with seed_mode = 'none'"),
        ({}, "tau_high", "with scheduler = 'fixed'"),
        ({"scheduler": "ewma"}, "adl_rho", "with scheduler = 'ewma'"),
        ({}, "adaptive_budgets", "with candidate_mode = 'none'"),
        ({"candidate_mode": "branch_beam"}, "adaptive_budgets", "without adaptive_candidates"),
        ({"candidate_mode": "branch_beam"}, "fixed_prefix_len", "with candidate_mode = 'branch_beam'"),
    ],
)
def test_options_that_another_one_silences_are_named(target_folder, draft_folder, options, name, reason):
    model = paired(target_folder, draft_folder)
    assert preflight(model, DFlashOptions(**options)).inert[name] == reason


@pytest.mark.parametrize(("compat", "lacks"), [("none", ()), ("published", ("depth",))])
def test_the_published_loops_have_a_depth_in_the_timed_prompt(target_folder, draft_folder, compat, lacks):
    assert preflight(paired(target_folder, draft_folder), DFlashOptions(compat=compat)).lacks == lacks


def test_options_in_use_are_not_called_inert(target_folder, draft_folder):
    model = paired(target_folder, draft_folder)
    scheduled = preflight(model, DFlashOptions(scheduler="adl_ewma")).inert
    assert not {name for name in scheduled if name.startswith(("adl_", "ewma_", "low_", "probe_"))}
    sparse = DFlashOptions(candidate_mode="uncertainty_sparse_rank", adaptive_candidates=True)
    assert not {"sparse_max_positions", "adaptive_budgets", "verify"} & set(preflight(model, sparse).inert)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"candidate_block_sizes": [1, 8]}, "greater than or equal to 2"),
        ({"candidate_block_sizes": []}, "at least 1"),
        ({"adaptive_accept_thresholds": [0.5, 0.6]}, "the first must not be below the second"),
        ({"scheduler": "ewma", "block_size": 8}, "block_size = 8 fixes what scheduler = 'ewma' chooses"),
        ({"candidate_mode": "branch_beam", "seed_mode": "dense"}, "cannot go together"),
        ({"adl_k_min": 9, "adl_k_max": 4}, "adl_k_min = 9 is above adl_k_max = 4"),
        ({"round_block_sizes": [8], "scheduler": "ewma"}, "a loop of its own"),
        ({"compat": "published-original", "seed_mode": "dense"}, "seed_mode = 'dense' is not of the authors' loop"),
        ({"compat": "published-original", "scheduler": "ewma"}, "scheduler = 'ewma'"),
        ({"compat": "published-original", "draft_steps": 2}, "draft_steps = 2"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        DFlashOptions.model_validate(options)


# --- through the command line, on a random pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random pair with the tiny family's tokenizer, so that prompts can be text."""
    root = tmp_path_factory.mktemp("pair")
    save_target(root / "target", vocab_size=512, max_position_embeddings=256)
    from ..models import TINY

    for name in ("tokenizer.json", "tokenizer_config.json"):
        (root / "target" / name).write_bytes((TINY / name).read_bytes())
    save_random_draft(root / "draft", vocab_size=512, max_position_embeddings=256)
    return root


@pytest.fixture(scope="module")
def measured(cli_for, folder):
    """One experiment: token by token, vanilla, candidates, a scheduler, seeds, and transformers."""
    plan = folder / "plan.toml"
    plan.write_text(
        f"""
name = "lab"
rounds = 1
[workload]
model = "{folder / "target"}"
prompt_tokens = 12
output_tokens = 20
samples = 2
warmup = 1
[[cells]]
backend = "dflash"
options = {{ n_threads = 1, block_size = [1, 8], draft = "{folder / "draft"}" }}
[[cells]]
backend = "dflash"
options = {{ n_threads = 1, candidate_mode = "branch_beam", draft = "{folder / "draft"}" }}
[[cells]]
backend = "dflash"
options = {{ n_threads = 1, scheduler = "ewma", candidate_block_sizes = [[2, 4]], draft = "{folder / "draft"}" }}
[[cells]]
backend = "dflash"
options = {{ n_threads = 1, seed_mode = "dense", compat = "published", draft = "{folder / "draft"}" }}
[[cells]]
backend = "transformers"
options = {{ n_threads = 1 }}
"""
    )
    cli = cli_for(folder)
    ended = cli("run", plan, "-o", folder / "out", "--json")
    assert ended.code == 0, ended.err
    return cli, folder / "out", ended.json


def test_every_mode_gives_the_tokens_of_transformers(measured):
    _, _, report = measured
    rows = report["comparison"]["rows"]
    assert len(rows) == 6
    assert [row["parity"]["verdict"] for row in rows[1:]] == ["identical"] * 5


def query(measured, sql):
    cli, out, _ = measured
    return cli("query", sql, out, "--json").rows


def test_cycles_are_recorded_with_times_and_traces(measured):
    rows = query(
        measured,
        "SELECT r.options->>'candidate_mode', s.block_size, s.drafted, s.candidates, s.forwards, s.draft_s > 0, "
        's.verify_s > 0, s.engine_s > 0, s.trace FROM steps s JOIN runs r USING (run_id) WHERE s."index" = 1 '
        "AND r.backend = 'dflash' AND r.options->>'seed_mode' = 'none' AND r.options->>'scheduler' = 'fixed' "
        "AND r.options->>'block_size' IS NULL",
    )
    assert rows
    for mode, block_size, drafted, candidates, forwards, draft, verify, engine, trace in rows:
        assert (mode, block_size, drafted, forwards) == ("branch_beam", 8, 7, 1)
        assert draft and verify and engine
        assert candidates == len(json.loads(trace)["candidate_taus"]) == 4


def test_schedulers_and_seeds_leave_their_state(measured):
    (scheduler,) = query(
        measured,
        "SELECT DISTINCT json_keys(trace) FROM steps JOIN runs USING (run_id) WHERE options->>'scheduler' = 'ewma' "
        "AND trace IS NOT NULL AND (trace->>'tau') IS NULL",
    )[0]
    assert set(scheduler) >= {"chosen_block_size", "l_gen", "tau_hat", "score_hat", "current_block_size"}
    (seeds,) = query(
        measured,
        "SELECT DISTINCT json_keys(trace) FROM steps JOIN runs USING (run_id) WHERE options->>'seed_mode' = 'dense' "
        "AND trace IS NOT NULL AND (trace->>'tau') IS NULL",
    )[0]
    assert set(seeds) == {"recycled_available", "seeded_count", "recycled_next"}


def test_the_published_figures_stand_beside_ours(measured):
    rows = query(
        measured,
        "SELECT s.engine, s.output_tokens, s.duration_s FROM samples s JOIN runs r USING (run_id) "
        "WHERE r.backend = 'dflash' AND r.options->>'block_size' = '8'",
    )
    for engine, tokens, duration_s in rows:
        figures = json.loads(engine)
        assert figures["published_output_tokens"] == tokens == 20
        decode_s = figures["published_tpot_s"] * tokens
        parts = figures["published_ttft_s"] + figures["first_draft_s"] + decode_s
        assert parts == pytest.approx(figures["published_wall_s"], abs=1e-3)
        assert figures["published_wall_s"] == pytest.approx(duration_s, rel=0.5)


def test_the_analysis_tells_the_modes_apart(measured):
    cli, out, _ = measured
    found = cli("speculation", out, "--json").json
    assert len(found["cells"]) == 6
    shown = cli("speculation", out)
    assert (shown.code, shown.err) == (0, "")
    assert "block_size=8" in shown.out


def test_the_draft_and_the_machine_are_in_the_record(measured):
    settings = query(measured, "SELECT DISTINCT settings FROM runs WHERE options->>'block_size' = '8'")[0][0]
    assert json.loads(settings)["draft_block_size"] == "8"


def test_a_pair_that_does_not_fit_fails_with_one_line(cli, folder, tmp_path):
    other = save_random_draft(tmp_path / "other", vocab_size=512, num_target_layers=9)
    ended = cli("run", "-b", "dflash", "-m", folder / "target", "--prompt-tokens", 4, "--set", f"draft={other}")
    assert ended.code == 2
    assert "num_target_layers = 9" in ended.err
    assert "Traceback" not in ended.err


def test_a_list_option_is_given_in_brackets(cli, folder):
    common = ("run", "-b", "dflash", "-m", folder / "target", "--prompt-tokens", 4, "--dry-run", "--no-probe", "--json")
    draft = f"draft={folder / 'draft'}"
    one = cli(*common, "--set", draft, "--set", "scheduler=ewma", "--set", "candidate_block_sizes=[4,8]").json
    assert [cell["options"]["candidate_block_sizes"] for cell in one["cells"]] == [[4, 8]]
    two = cli(*common, "--set", draft, "--set", "scheduler=ewma", "--set", "candidate_block_sizes=[2],[4,8]").json
    assert [cell["options"]["candidate_block_sizes"] for cell in two["cells"]] == [[2], [4, 8]]


def test_score_agrees_with_the_greedy_choice(target_folder, draft_folder):
    options = DFlashOptions(n_threads=1)
    model = paired(target_folder, draft_folder)
    backend = DFlashBackend()
    prepared = DFlashBackend.prepare(model, "none", "cpu", options, ModelCache(target_folder / "cache"))
    backend.load(prepared, "cpu", options)
    request = Request((5, 9, 33), 12)
    tokens = [token for step in backend.generate([request]) for token in step.token_ids]
    scores = backend.score([*request.prompt_ids, *tokens], top_k=2)
    assert all(scores.is_greedy[3:])
    assert [ids[0] for ids in scores.top_ids[3:]] == tokens
    assert_shares_a_prompt(backend, request.prompt_ids, tokens)
    backend.close()


def test_published_rows_with_a_profile_are_analysed_from_their_sums(cli, tmp_path):
    """Two samples of 4 and 2 cycles: the sums of their profiles, over 6 cycles."""
    rows = TESTS_DATA / "benchmark_samples.jsonl"
    assert cli("collate", tmp_path, "--import", rows).code == 0
    cells = {
        cell["cell"]["options"].get("block_size"): cell for cell in cli("speculation", tmp_path, "--json").json["cells"]
    }
    profiles = [json.loads(line)["speculative"]["profile_summary"] for line in rows.read_text().splitlines()]
    cycles = sum(profile["profiled_cycles"] for profile in profiles)
    time = cells["4"]["time"]
    assert time["clock"] == "summary"
    assert time["draft_s"] == pytest.approx(sum(p["draft_decode_s"] for p in profiles) / cycles)
    assert time["verify_s"] == pytest.approx(sum(p["target_decode_s"] for p in profiles) / cycles)
    assert time["cycle_s"] == pytest.approx(sum(p["cycle_decode_s_sum"] for p in profiles) / cycles)

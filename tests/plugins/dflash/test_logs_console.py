"""Console logs: every printed figure, however wrapped and whatever stands in between; logs that were cut."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from decodebench.core.records.raw_log import RawLogError
from decodebench.plugins.dflash.logs.console import ConsoleLog

DATA = Path(__file__).parents[2] / "data" / "dflash"
SWEEP = DATA / "sweep_aime25_bs16.log"


def figures(subject, total_s=12.0, n=3):
    return [
        f"{subject} total_wall_s: {total_s:.6f}",
        f"{subject} avg_wall_s: {total_s / n:.6f}",
        f"{subject} TTFT: 0.110000",
        f"{subject} TPOT: 0.008000",
        f"{subject} tokens_per_sec: 125.000000",
    ]


def histogram(block_size):
    cycles = block_size * (block_size + 1) / 2
    return f"Acceptance length histogram: {[f'{100 * tau / cycles:.1f}%' for tau in range(block_size + 1)]}"


LINES = [
    "[boot] +0.00s entering benchmark.py pid=4242",
    "[boot][imports] +4.40s all imports finished",
    "[setup][pre-dist] +0.00s pid=4242 starting; model=Qwen/Qwen3-4B, draft=z-lab/Qwen3-4B-DFlash-b16, draft_steps=1",
    "[setup][rank0] +31.20s target model loaded in 12.34s",
    *figures("Baseline", 60.0),
    *figures("Speculative"),
    "Decoding speedup: 5.00",
    "Speculative profile avg_target_prefill_s: 0.115137",
    "Speculative profile total_profiled_cycles: 7345",
    "Average Acceptance length: 7.46",
    histogram(16),
    "Draft steps per cycle: 1",
    "Hardware GPU: NVIDIA A100 80GB PCIe",
    "Hardware World Size: 2",
    f"Saved per-sample outputs to: outputs/{'long-' * 20}name.jsonl",
]  # fmt: skip


def printed(lines, width=80, markup=False):
    """Print as the scripts do; ``markup`` swallows what stands in square brackets."""
    file = io.StringIO()
    console = Console(file=file, width=width, markup=markup, highlight=False)
    for line in lines:
        console.print(line)
    return file.getvalue()


@pytest.fixture
def read(tmp_path):
    """Write a log and read it: runs by mode, or by mode and block size of the methods where ``by_size``."""

    def read(text, name="run.log"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        assert ConsoleLog().matches(path, path.read_bytes())
        return list(ConsoleLog().read(path))

    return read


def test_every_figure_of_a_log_is_a_setting_of_its_mode():
    baseline, run = ConsoleLog().read(SWEEP)
    assert (baseline.options, baseline.conditions["mode"]) == ({"block_size": 1}, "baseline")
    assert run.options == {"block_size": 16, "draft": "z-lab/Qwen3-4B-DFlash-b16", "draft_steps": 1}
    assert (run.status, run.model, run.task, run.samples) == ("ok", "Qwen/Qwen3-4B", "aime25", 3)
    assert {name: float(run.settings[f"published_{name}"]) for name in (
        "total_wall_s", "avg_wall_s", "ttft_s", "tpot_s", "tokens_per_s", "tpot_speedup", "tau_mean",
        "avg_target_prefill_s", "avg_target_decode_s", "avg_draft_decode_s", "target_share_decode",
        "draft_share_decode", "total_profiled_cycles", "world_size",
    )} == {
        "total_wall_s": 12, "avg_wall_s": 4, "ttft_s": 0.11, "tpot_s": 0.008, "tokens_per_s": 125, "tpot_speedup": 5,
        "tau_mean": 10.3, "avg_target_prefill_s": 0.115137, "avg_target_decode_s": 3.2, "avg_draft_decode_s": 0.8,
        "target_share_decode": 0.8, "draft_share_decode": 0.2, "total_profiled_cycles": 100, "world_size": 1,
    }  # fmt: skip
    assert json.loads(run.settings["published_tau_shares"]) == [0] + [0.05] * 15 + [0.25]
    assert float(baseline.settings["published_total_wall_s"]) == 60
    assert baseline.settings["published_total_profiled_cycles"] == "1500"
    assert run.environment.gpu == ("NVIDIA A100 80GB PCIe",)
    assert run.environment.packages == {"cuda": "12.8", "torch": "2.9.1"}


def test_no_sample_is_made_of_an_aggregate():
    for path in DATA.glob("*.log"):
        assert {type(record).__name__ for record in ConsoleLog().read(path)} == {"Run"}


def test_start_up_lines_tell_when_the_imports_were_done():
    baseline, run = ConsoleLog().read(SWEEP)
    assert baseline.import_s == run.import_s == 4.4
    start_up = json.loads(run.settings["published_startup"])
    assert [seconds for _, seconds, _ in start_up] == [0, 4.4, 0, 31.2, 35]
    assert start_up[2][2].endswith("DFlash-b16, draft_steps=1")  # wrapped in the file


def test_the_mode_with_a_scheduler_stands_before_its_baseline_and_tells_its_blocks():
    run, baseline = ConsoleLog().read(DATA / "dynamic.log")
    assert [r.conditions["mode"] for r in (run, baseline)] == ["dynamic", "baseline"]
    assert json.loads(run.settings["published_block_counts"]) == {"8": 826, "10": 10, "12": 1219, "16": 894}
    assert json.loads(run.settings["published_block_shares"])["12"] == 0.4134
    assert (run.settings["published_tau_mean"], run.settings["published_tpot_speedup"]) == ("6.55", "5.58")
    assert "block_size" not in run.options


def test_block_sizes_whose_tags_were_swallowed_are_told_by_their_histograms():
    baseline, *runs = ConsoleLog().read(DATA / "multi_block.log")
    assert [(r.options["block_size"], r.settings["published_tpot_s"]) for r in runs] == [
        (8, "0.010000"),
        (12, "0.008000"),
    ]
    assert [r.settings["published_tpot_speedup"] for r in runs] == ["4.00", "5.00"]
    assert [r.settings["published_tau_mean"] for r in runs] == ["5.50", "6.50"]
    assert {r.options["draft_steps"] for r in runs} == {1} and baseline.status == "ok"


@pytest.mark.parametrize("is_by_figure", [False, True])
def test_block_sizes_whose_tags_are_there_may_come_in_any_order(read, is_by_figure):
    blocks = [
        [f"[bs={b}] {line}" for line in [*figures("Speculative", b), "Average Acceptance length: 2.00", histogram(b)]]
        for b in (4, 2)
    ]
    lines = [line for pair in zip(*blocks, strict=True) for line in pair] if is_by_figure else [*blocks[0], *blocks[1]]
    runs = read(printed([*figures("Baseline"), *lines, "[bs=2] Decoding speedup: 2.00"]))[1:]
    assert [(r.options["block_size"], r.settings["published_total_wall_s"]) for r in runs] == [
        (4, "4.000000"), (2, "2.000000"),
    ]  # fmt: skip


def test_candidates_are_options_and_their_use_settings():
    (run,) = ConsoleLog().read(DATA / "candidate.log")  # its baseline was skipped
    assert run.status == "ok" and "published_tpot_speedup" not in run.settings
    expected = {
        "candidate_mode": "fixed_prefix_rank", "fixed_prefix_len": 2, "max_candidates": 8, "branch_top_k": 4,
        "branch_margin_threshold": -1, "adaptive_candidates": True, "adaptive_budgets": [1, 4, 8],
        "adaptive_accept_thresholds": [0.85, 0.65], "block_size": 16,
    }  # fmt: skip
    assert {name: run.options[name] for name in expected} == expected
    assert run.settings["published_avg_candidates_per_cycle"] == "3.407"
    assert json.loads(run.settings["published_budget_counts"]) == {"1": 90, "4": 38, "8": 376}


def test_seeding_and_rounds():
    _, run = ConsoleLog().read(DATA / "suffix.log")
    assert run.options == {"seed_mode": "sparse", "block_size": 4}
    assert [run.settings[f"published_{name}"] for name in (
        "seed_attempt_cycles", "seeded_cycles", "seeded_token_total", "seeded_tokens_per_cycle"
    )] == ["410", "410", "804", "1.914"]  # fmt: skip
    _, run = ConsoleLog().read(DATA / "multiround.log")
    assert run.conditions["mode"] == "multiround"
    assert run.settings["published_accepted_round_mean"] == "1.234"
    assert json.loads(run.settings["published_accepted_round_shares"]) == [0.8, 0.15, 0.05]
    assert json.loads(run.settings["published_accepted_round_counts"]) == {"1": 80, "2": 15, "3": 5}


def told(runs):
    return [(r.status, r.options, r.settings, r.environment, r.samples, r.import_s, r.model) for r in runs]


@pytest.mark.parametrize("width", [50, 79, 80, 81, 120])
def test_a_wrapped_log_is_read_as_one_that_is_not(read, width):
    wide = told(read(printed(LINES[4:], 10_000)))
    assert wide[1][2]["published_total_profiled_cycles"] == "7345"
    assert told(read(printed(LINES[4:], width))) == wide


def test_wrapped_start_up_lines_are_read_as_those_that_are_not(read):
    assert told(read(printed(LINES))) == told(read(printed(LINES, 10_000)))
    swallowed = read(printed(LINES, markup=True))[1]
    assert (swallowed.model, swallowed.import_s) == ("Qwen/Qwen3-4B", 4.4)


BAR = "\r 33%|###4      | 1/3 [00:01<00:02,  1.00s/it]"


@pytest.mark.parametrize(
    "with_bars",
    [
        lambda text: text.replace("\n", f"\n{BAR}"),
        lambda text: text.replace("\n", f"{BAR}\n"),
        lambda text: text.replace("\n", f"\n{BAR}\r100%|##########| 3/3 [00:03<00:00,  1.00s/it]\n"),
        lambda text: text.replace("\n", "\nGenerating: 2it [00:10,  3.35s/it]\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: f"\x1b[32m{text}\x1b[0m",
    ],
)
def test_progress_bars_colours_and_line_ends_change_nothing(read, with_bars):
    text = printed(LINES[4:])
    assert told(read(with_bars(text))) == told(read(text))


def test_of_what_is_printed_again_the_last_counts(read):
    again = [line.replace("0.008000", "0.009000") for line in LINES]
    runs = read(printed([*LINES, *again]))
    assert [(r.conditions["mode"], r.settings["published_tpot_s"]) for r in runs] == [
        ("baseline", "0.009000"), ("speculative", "0.009000"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("n", "modes", "reason"),
    [
        (1, ["unknown"], "no method's figures, such as 'Speculative total_wall_s'"),
        (4, ["unknown"], "no method's figures, such as 'Speculative total_wall_s'"),
        (9, ["baseline", "unknown"], "no method's figures"),
        (11, ["baseline", "speculative"], "Speculative TTFT, Speculative TPOT, Speculative tokens_per_sec, Average"),
        (14, ["baseline", "speculative"], "are missing: Average Acceptance length, Decoding speedup"),
        (16, ["baseline", "speculative"], "are missing: Average Acceptance length"),
    ],
)
def test_a_log_without_its_last_lines_is_incomplete_and_keeps_what_it_has(read, n, modes, reason):
    runs = read(printed(LINES[:n]))
    assert [r.conditions["mode"] for r in runs] == modes
    assert runs[-1].status == "incomplete" and reason in runs[-1].reason
    assert all(r.status == "ok" and r.settings["published_tpot_s"] == "0.008000" for r in runs[:-1])


def test_a_log_that_ends_inside_a_line_is_incomplete(read):
    text = printed(LINES[:15])
    runs = read(text[: text.rindex("5.00") + 2])
    assert runs[1].reason.startswith("the log ends inside its line 16, which is left out: it was cut; lines that")
    assert runs[1].settings["published_tokens_per_s"] == "125.000000"
    whole = printed(LINES)
    assert [r.status for r in read(whole[: whole.index("'2.9%'")])] == ["ok", "incomplete"]


def test_a_histogram_that_was_cut_leaves_the_block_size_to_the_files_name(read):
    text = printed(LINES).split("\nDraft steps")[0]
    text = text[: text.rindex("\n") + 1]
    runs = read(text, "sweep_gsm8k_bs16.log")
    assert (runs[1].status, runs[1].options["block_size"], runs[1].task) == ("incomplete", 16, "gsm8k")
    assert "Acceptance length histogram" in runs[1].reason
    assert "block_size from the file's name" in runs[1].notes
    assert "block_size" not in read(text, "sweep_gsm8k_bsauto.log")[1].options


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Speculative TPOT: 0.008000", "Speculative TPOT: nan", ":13: field 'Speculative TPOT': 'nan'"),
        ("Baseline TTFT: 0.110000", "Baseline TTFT: -1.0", ":7: field 'Baseline TTFT': '-1.0'"),
        ("cycles: 7345", "cycles: 73.5", "total_profiled_cycles': '73.5' must be an integer"),
        ("Decoding speedup: 5.00", "Decoding speedup: 5.00x", "Decoding speedup': '5.00x'"),
        ("'0.7%'", "0.7", "list of percentages"),
    ],
)
def test_a_bad_figure_is_named_with_file_line_and_label(read, old, new, words):
    text = printed(LINES, 10_000)
    assert old in text
    with pytest.raises(RawLogError, match=r"run\.log:[0-9]+: field ") as caught:
        read(text.replace(old, new))
    assert words in str(caught.value)

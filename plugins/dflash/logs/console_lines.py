"""The lines of a console log that tell something: where each value goes, and how it is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ....core.sdk.logs.fields import count, number, percentages
from ....core.sdk.logs.text import malformed

MEAN_TAU = "Average Acceptance length"
DRAFT_STEPS = "Draft steps per cycle"
SPEEDUP = "Decoding speedup"

Read = Callable[[Path, int, str, str], str]
"""Checks a printed value and returns it as it is kept, plain or JSON: file, line, label, text."""


def read_number(path: Path, line: int, label: str, text: str) -> str:
    """Return a number as printed."""
    number(path, line, label, text)
    return text


def _signed(path: Path, line: int, label: str, text: str) -> str:
    return str(-number(path, line, label, text[1:]) if text.startswith("-") else number(path, line, label, text))


def read_count(path: Path, line: int, label: str, text: str) -> str:
    """Return a whole number."""
    return str(count(path, line, label, text))


def _seeded(path: Path, line: int, label: str, text: str) -> str:
    return read_count(path, line, label, text.split(" (")[0])


def _text(path: Path, line: int, label: str, text: str) -> str:
    return text


def _word(path: Path, line: int, label: str, text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _flag(path: Path, line: int, label: str, text: str) -> str:
    if text not in ("True", "False"):
        raise malformed(path, line, label, f"{text!r} is neither True nor False")
    return text.lower()


def _list(path: Path, line: int, label: str, text: str) -> str:
    parts = "".join(text.split()).strip("[]()").split(",")
    return json.dumps([_plain_number(read_number(path, line, label, part)) for part in parts])


def _shares(path: Path, line: int, label: str, text: str) -> str:
    return json.dumps(percentages(path, line, label, text))


def _table(read: Read) -> Read:
    """Return a reader of a printed dict of numbers."""

    def tabulate(path: Path, line: int, label: str, text: str) -> str:
        inner = re.fullmatch(r"\{(.*)\}", "".join(text.split()))
        pairs = [part.split(":") for part in inner[1].split(",")] if inner and inner[1] else []
        if inner is None or not all(len(pair) == 2 for pair in pairs):
            raise malformed(path, line, label, "no table of numbers")
        return json.dumps({key.strip("'\""): _plain_number(read(path, line, label, value)) for key, value in pairs})

    return tabulate


def _plain_number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


LINES: Mapping[str, tuple[str | None, Read]] = {
    SPEEDUP: ("published_tpot_speedup", read_number),
    MEAN_TAU: ("published_tau_mean", read_number),
    "Acceptance length histogram": ("published_tau_shares", _shares),
    DRAFT_STEPS: (None, read_count),
    "Prompt batch size": ("published_prompt_batch_size", read_count),
    "Dynamic block usage counts": ("published_block_counts", _table(read_count)),
    "Dynamic block usage pct": ("published_block_shares", _table(read_number)),
    "Suffix seed mode": ("option seed_mode", _word),
    "Suffix seed attempt cycles": ("published_seed_attempt_cycles", read_count),
    "Suffix seeded cycles": ("published_seeded_cycles", _seeded),
    "Suffix seeded tokens total": ("published_seeded_token_total", read_count),
    "Suffix seeded tokens per cycle": ("published_seeded_tokens_per_cycle", read_number),
    "Candidate avg_candidates_per_cycle": ("published_avg_candidates_per_cycle", read_number),
    "Candidate avg_verify_calls_per_sample": ("published_avg_verify_calls_per_sample", read_number),
    "Candidate mode": ("option candidate_mode", _word),
    "Candidate fixed_prefix_len": ("option fixed_prefix_len", read_count),
    "Candidate sparse_max_positions": ("option sparse_max_positions", read_count),
    "Candidate branch_depth": ("option branch_depth", read_count),
    "Candidate branch_top_k": ("option branch_top_k", read_count),
    "Candidate max_candidates": ("option max_candidates", read_count),
    "Candidate margin_threshold": ("option branch_margin_threshold", _signed),
    "Candidate adaptive_enabled": ("option adaptive_candidates", _flag),
    "Candidate adaptive_budgets": ("option adaptive_budgets", _list),
    "Candidate adaptive_accept_thresholds": ("option adaptive_accept_thresholds", _list),
    "Candidate adaptive_warmup_cycles": ("option adaptive_warmup_cycles", read_count),
    "Candidate adaptive_probe_interval": ("option adaptive_probe_interval", read_count),
    "Candidate adaptive_budget_counts": ("published_budget_counts", _table(read_count)),
    "Candidate adaptive_budget_pct": ("published_budget_shares", _table(read_number)),
    "Average accepted round index": ("published_accepted_round_mean", read_number),
    "Accepted round histogram": ("published_accepted_round_shares", _shares),
    "Accepted round counts": ("published_accepted_round_counts", _table(read_count)),
    "Accepted round pct": (None, _table(read_number)),
    "Hardware GPU": (None, _text),
    "Hardware CUDA": (None, _text),
    "Hardware Torch": (None, _text),
    "Hardware World Size": (None, read_count),
    "Saved per-sample outputs to": (None, _text),
    "Saved per-cycle trace to": (None, _text),
    "Saved summary CSV to": (None, _text),
}
"""Label -> where its value goes in a block (a setting or an option; None: nowhere), and how it is read."""

"""Synthetic logs of speculative decoding, one cycle a step, and what is shown of them."""

from __future__ import annotations

import io

from rich.console import Console

from decodebench.collate.collate import collate
from decodebench.collate.speculation import analyse
from decodebench.core.isolation.plugins import all_plugins
from decodebench.core.records.store import Store
from decodebench.viz.terminal.speculation import speculation_view


def steps(cycles, ttft=0.5):
    """A prefill step of one token after ``ttft`` seconds, then one step per cycle.

    A cycle is (block, tokens, seconds) or that with a dict of further fields.
    """
    made = [{"index": 0, "t_s": ttft, "step_s": ttft, "tokens": 1, "token_ids": [1]}]
    for index, (block, tokens, seconds, *more) in enumerate(cycles, start=1):
        made.append({
            "index": index, "t_s": made[-1]["t_s"] + seconds, "step_s": seconds, "tokens": tokens,
            "token_ids": [1] * tokens, "block_size": block, "drafted": block - 1, "accepted": tokens - 1,
            "forwards": 1, **(more[0] if more else {}),
        })  # fmt: skip
    return made


TWO_SAMPLES = (
    [(4, 4, 0.2), (4, 1, 0.1), (4, 2, 0.1)],
    [(4, 1, 0.1), (4, 1, 0.1)],
)


def writer(logs, make_sample):
    """Return a function that writes one round: ``write(cell, samples)`` with the cycles of each sample."""

    def write_round(cell, samples=TWO_SAMPLES, round=0, finish="stop", sample=(), **run):
        content = [
            make_sample(i, steps(cycles), finish=finish, **dict(sample)) for i, cycles in enumerate(samples)
        ]  # fmt: skip
        options = run.pop("options", {"block_size": 4})
        run = {"backend": "spec", "kind": "speculative", "options": options, **run}
        return logs.write(cell, round, content, samples=len(samples), **run)

    return write_round


def baseline_cycles(tokens, seconds):
    """What the same loop does with a block of one: a token a cycle."""
    return [(1, 1, seconds)] * tokens


def analysis(logs, experiment="exp", **arguments):
    collate(logs.folder, all_plugins())
    with Store.open(logs.folder) as store:
        return analyse(store, experiment, **arguments)


def three_ways(write):
    off, on = ({"candidates": n, "trace": {"chosen_candidate_idx": 0}} for n in (1, 4))
    common = {"block_size": 4, "candidate_mode": "none", "max_candidates": 4}
    mode = {"candidate_mode": "branch_beam"}
    write("a", [baseline_cycles(6, 0.1)], options={**common, "block_size": 1}, cell_index=0)
    write("b", [[(4, 2, 0.1)] * 3], options=common, cell_index=1)
    write("c", [[(4, 2, 0.125, off)] * 3], options={**common, **mode, "max_candidates": 1}, cell_index=2)
    write("d", [[(4, 3, 0.15, on)] * 2], options={**common, **mode}, cell_index=3)


def shown(result, width=80):
    output = io.StringIO()
    Console(file=output, width=width).print(speculation_view(result))
    return output.getvalue()

"""Lengths and depths: several in one matrix, and a depth that is there before the clock starts."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

import pytest

from decodebench import Backend, Request, Step
from decodebench.core.errors import PluginError
from decodebench.core.measure.timed_loop import measure

RUN = ["run", "-b", "llama-cpp", "-m", "tiny:draft", "--ignore-eos", "--samples", 1, "--warmup", 0, "--rounds", 1]


class Marking(Backend):
    """Takes 5 for a context and 2 for a token, by the test's clock."""

    name, summary, kind = "marking", "", "autoregressive"
    supports = frozenset({"depth"})
    probe = quantisations = load = None
    now, marks = 0, 1

    def generate(self, batch):
        for _ in range(self.marks if batch[0].depth else 0):
            self.now += 5
            yield Step((), is_depth=True)
        for token in range(batch[0].max_new_tokens):
            self.now += 2
            yield Step((token,))


Marking.__abstractmethods__ = frozenset()


def test_the_clock_starts_when_the_context_is_there():
    backend = Marking()
    request = Request((1, 2, 3, 4), 2, ignore_eos=True)
    batch = measure(backend, [replace(request, depth=3)], lambda: backend.now)
    assert (batch.start_ns, batch.depth_ns, batch.wall_ns) == (5, 5, 4)
    assert [now for now, _ in batch.rows[0].steps] == [2, 4] and batch.rows[0].ids == [0, 1]
    plain = measure(backend, [request], lambda: backend.now)
    assert plain.depth_ns is None and plain.wall_ns == 4


@pytest.mark.parametrize("marks", [0, 2])
def test_a_context_is_marked_once(marks):
    backend = Marking()
    backend.marks = marks
    with pytest.raises(PluginError, match=f"asked for a depth of 3, it marked {marks} steps"):
        measure(backend, [Request((1, 2, 3, 4), 2, ignore_eos=True, depth=3)], lambda: backend.now)


def test_several_lengths_make_the_cells_that_each_would_make_alone(cli):
    def ids(prompt, depth):
        flags = ["--prompt-tokens", prompt, "--depth", depth, "--output-tokens", 2]
        return [cell["cell_id"] for cell in cli(*RUN, *flags, "--dry-run", "--no-probe", "--json").json["cells"]]

    assert ids("16,64", "0,32") == [*ids(16, 0), *ids(16, 32), *ids(64, 0), *ids(64, 32)]
    for flags, field in ((["--prompt-tokens", "8,0"], "prompt_tokens = 0"), (["--depth", "1,2"], "prompt_tokens")):
        ended = cli(*RUN, *flags, "--dry-run", "--no-probe")
        assert ended.code == 2 and field in ended.err and "Traceback" not in ended.err


@pytest.mark.nightly
@pytest.mark.engine
def test_times_to_the_first_token_leave_the_depth_out(cli, tmp_path):
    flags = ["--prompt-tokens", "8,16", "--depth", 32, "--output-tokens", 2]
    assert cli(*RUN, *flags, "-o", tmp_path).code == 0
    logs = [log.read_text().splitlines() for log in (tmp_path / "raw" / "llama-cpp").glob("*.jsonl")]
    samples = [next(line for line in map(json.loads, lines) if line["type"] == "sample") for lines in logs]
    assert sorted(sample["prompt_tokens"] for sample in samples) == [40, 48]
    assert all(sample["depth_tokens"] == 32 and sample["depth_s"] > 0 for sample in samples)
    sql = "SELECT round(prefill_tokens_per_s * ttft_s) AS timed FROM sample_metrics ORDER BY timed"
    assert cli("query", sql, tmp_path, "--json").rows == [[8.0], [16.0]]
    page = Path(cli("report", tmp_path, "--json").json["report"]).read_text()
    (tmp_path / "plan.toml").write_text(html.unescape(page.split("<pre><code>")[1].split("</code></pre>")[0]))
    again = cli("run", tmp_path / "plan.toml", "--dry-run", "--no-probe", "--json").json["cells"]
    measured = cli("query", "SELECT DISTINCT cell_id FROM runs", tmp_path, "--json").rows
    assert sorted(cell["cell_id"] for cell in again) == sorted(row[0] for row in measured)


def test_a_depth_that_is_part_of_the_timed_prompt_is_said(cli):
    ended = cli(*RUN, "--prompt-tokens", 8, "--depth", 4, "--batch-size", 2, "--dry-run", "--no-probe")
    assert "llama-cpp: depth = 4 is part of the timed prompt of several requests at once" in ended.err
